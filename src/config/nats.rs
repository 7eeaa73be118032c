//! The settings by which a hub is joined to others: which servers of NATS, and what stream.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telemetry_hub_actors::{Identity, NatsConfig, Storage};

use super::{Secret, Settings};

/// For how long a source may wait at most: shorter than the stream knows messages again, so that none is there twice.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Where JetStream keeps a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NatsStorage {
    File,
    Memory,
}

impl From<NatsStorage> for Storage {
    fn from(storage: NatsStorage) -> Self {
        match storage {
            NatsStorage::File => Self::File,
            NatsStorage::Memory => Self::Memory,
        }
    }
}

impl Settings {
    /// How a hub that listens there is joined to others, if it is.
    pub(crate) fn nats(&self, address: SocketAddr) -> Option<NatsConfig> {
        if self.nats.0.is_empty() {
            return None;
        }
        let identity = match (given(&self.nats_credentials), given(&self.nats_nkey)) {
            (Some(file), _) => Identity::Credentials(file),
            (None, Some(file)) => Identity::Nkey(file),
            (None, None) => Identity::Address,
        };
        Some(NatsConfig {
            servers: self.servers().map(str::to_owned).collect(),
            hub_name: self.hub_name_at(address),
            prefix: self.nats_prefix.clone(),
            stream: self.nats_stream.clone(),
            services: self.nats_services.clone(),
            narrow: self.nats_narrow,
            identity,
            ca: given(&self.nats_ca),
            certificate: given(&self.nats_client_certificate).zip(given(&self.nats_client_key)),
            storage: self.nats_storage.into(),
            replicas: self.nats_replicas,
            max_age: self.nats_max_age.0,
            max_bytes: self.nats_max_bytes.as_u64(),
            patience: self.nats_patience.0,
        })
    }

    /// The addresses of the servers: each may have been given by itself, or several with commas.
    fn servers(&self) -> impl Iterator<Item = &str> {
        let lists = self.nats.0.iter().map(Secret::as_str);
        lists.flat_map(|list| list.split(',')).map(str::trim).filter(|server| !server.is_empty())
    }

    fn hub_name_at(&self, address: SocketAddr) -> String {
        if !self.hub_name.is_empty() {
            return self.hub_name.clone();
        }
        let host = sysinfo::System::host_name().unwrap_or_else(|| address.ip().to_string());
        format!("{host}:{}", address.port())
    }

    /// What is wrong with these settings, if anything is.
    pub(super) fn check_nats(&self) -> Result<(), String> {
        for server in self.servers() {
            // A password may stand in it: what is wrong is told without it.
            server.parse::<async_nats::ServerAddr>().map_err(
                |_| "nats: not the address of a server; write nats://host:4222, or tls://host:4222",
            )?;
        }
        let is_token = |token: &str| {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b".*>$/\\".contains(&byte);
            !token.is_empty() && token.len() <= 64 && token.bytes().all(is_plain)
        };
        if !self.nats_prefix.split('.').all(is_token) {
            return Err(
                "nats_prefix: expected a subject, such as telemetry or acme.telemetry".to_owned()
            );
        }
        if !is_token(&self.nats_stream) {
            return Err("nats_stream: expected a name, such as TELEMETRY".to_owned());
        }
        if self.nats_patience.0 > LONGEST_PATIENCE {
            return Err("nats_patience: expected a minute at most".to_owned());
        }
        if self.nats_max_age.0 <= LONGEST_PATIENCE {
            return Err("nats_max_age: expected more than a minute".to_owned());
        }
        if !(1..=5).contains(&self.nats_replicas) {
            return Err("nats_replicas: expected a number from 1 to 5".to_owned());
        }
        if given(&self.nats_credentials).is_some() && given(&self.nats_nkey).is_some() {
            return Err("nats_credentials and nats_nkey: only one can count".to_owned());
        }
        if self.nats_narrow && !self.nats_services.is_empty() {
            return Err("nats_narrow and nats_services: only one can count".to_owned());
        }
        let [certificate, key] = [&self.nats_client_certificate, &self.nats_client_key].map(given);
        if certificate.is_some() != key.is_some() {
            return Err(
                "nats_client_certificate and nats_client_key: each needs the other".to_owned()
            );
        }
        Ok(())
    }
}

fn given(file: impl AsRef<Path>) -> Option<PathBuf> {
    let file = file.as_ref();
    (!file.as_os_str().is_empty()).then(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use figment::Jail;
    use serde_json::json;

    use super::*;

    const HERE: SocketAddr = super::super::DEFAULT_LISTEN;

    // Nothing else may put settings into the environment meanwhile.
    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own")]
    fn a_hub_is_alone_unless_it_is_told_of_servers() {
        Jail::expect_with(|_| {
            let alone = Settings::load(None, &json!({})).unwrap();
            assert!(alone.nats(HERE).is_none());
            let servers = json!(["nats://a:4222, tls://b:4223", "c"]);
            let joined = Settings::load(None, &json!({"nats": servers})).unwrap();
            let joined = joined.nats(HERE).unwrap();
            assert_eq!(joined.servers, ["nats://a:4222", "tls://b:4223", "c"]);
            assert!(joined.hub_name.ends_with(":8787") && joined.hub_name.len() > 5);
            let defaults = NatsConfig {
                servers: joined.servers.clone(),
                hub_name: joined.hub_name.clone(),
                ..NatsConfig::default()
            };
            assert_eq!(format!("{joined:?}"), format!("{defaults:?}"));
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own")]
    fn what_cannot_be_is_refused_by_name_and_without_a_password() {
        Jail::expect_with(|_| {
            for (settings, name) in [
                (json!({"nats": ["http://me:s3cret@x"]}), "nats"),
                (json!({"nats_prefix": "a..b"}), "nats_prefix"),
                (json!({"nats_prefix": "a.>"}), "nats_prefix"),
                (json!({"nats_stream": "a.b"}), "nats_stream"),
                (json!({"nats_replicas": 0}), "nats_replicas"),
                (json!({"nats_storage": "tape"}), "nats_storage"),
                (json!({"nats_credentials": "a", "nats_nkey": "b"}), "nats_nkey"),
                (json!({"nats_narrow": true, "nats_services": ["a"]}), "nats_narrow"),
                (json!({"nats_client_key": "a"}), "nats_client_certificate"),
                (json!({"nats_patience": "0s"}), "nats_patience"),
                (json!({"nats_patience": "61s"}), "nats_patience"),
                (json!({"nats_max_age": "60s"}), "nats_max_age"),
                (json!({"nats_max_bytes": "0"}), "nats_max_bytes"),
            ] {
                let error = Settings::load(None, &settings).unwrap_err().to_string();
                assert!(error.contains(name) && !error.contains("s3cret"), "{settings}: {error}");
            }
            Ok(())
        });
    }
}
