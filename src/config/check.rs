//! What is refused of settings that can be read: what would make a hub that cannot work, or that is open where nobody meant it.

use bytesize::ByteSize;

use super::{Secret, Settings};
use crate::access::{NEEDS_METRICS, Scope, TokenSettings, tells_of_others};

/// The least that a key for tickets may have (RFC 7518, section 3.2).
const MIN_TICKET_KEY_BYTES: usize = 32;

impl Settings {
    /// What is wrong, by the name of the setting, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_tokens()?;
        self.check_ticket_key()?;
        self.check_tls()?;
        self.check_nats()?;
        self.check_zeros()
    }

    fn check_tokens(&self) -> Result<(), String> {
        let mut hashes: Vec<_> = self.tokens.iter().map(|token| token.hash).collect();
        hashes.sort_unstable();
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("tokens: the same hash stands there twice, and only one could count".into());
        }
        let tells = |token: &&TokenSettings| {
            let (filter, metrics) = (token.filter.as_ref(), token.metrics.as_ref());
            token.scopes.contain(Scope::Metrics) && tells_of_others(filter, metrics)
        };
        match self.tokens.iter().find(tells) {
            Some(token) => Err(format!("tokens: {:?} has {NEEDS_METRICS}", token.name)),
            None => Ok(()),
        }
    }

    fn check_ticket_key(&self) -> Result<(), String> {
        let is_long = |key: &Secret| key.as_str().len() >= MIN_TICKET_KEY_BYTES;
        match &self.ticket_key.0[..] {
            [] => Ok(()),
            [key] if is_long(key) => Ok(()),
            _ => {
                Err(format!("ticket_key must be one text of {MIN_TICKET_KEY_BYTES} bytes or more"))
            }
        }
    }

    fn check_tls(&self) -> Result<(), String> {
        let files = [&self.tls_certificate, &self.tls_key, &self.tls_client_ca];
        if self.tls().is_none() && files.iter().any(|file| !file.as_os_str().is_empty()) {
            return Err("TLS needs both tls_certificate and tls_key".to_owned());
        }
        Ok(())
    }

    fn check_zeros(&self) -> Result<(), String> {
        let is_zero = |size: ByteSize| size.as_u64() == 0;
        let zeros = [
            ("max_body_bytes", is_zero(self.max_body_bytes)),
            ("max_decompression_ratio", self.max_decompression_ratio == 0),
            ("max_connections", self.max_connections == 0),
            ("max_connections_per_address", self.max_connections_per_address == 0),
            ("max_streams_per_connection", self.max_streams_per_connection == 0),
            ("body_timeout", self.body_timeout.0.is_zero()),
            ("max_event_bytes", is_zero(self.max_event_bytes)),
            ("ingest_queue_bytes", is_zero(self.ingest_queue_bytes)),
            ("subscriber_queue_bytes", is_zero(self.subscriber_queue_bytes)),
            ("batch_bytes", is_zero(self.batch_bytes)),
            ("max_subscribers_per_address", self.max_subscribers_per_address == 0),
            ("max_subscribers_per_token", self.max_subscribers_per_token == 0),
            ("ping_interval", self.ping_interval.0.is_zero()),
            ("retry", self.retry.0.is_zero()),
            ("head_timeout", self.head_timeout.0.is_zero()),
            ("idle_timeout", self.idle_timeout.0.is_zero()),
            ("write_timeout", self.write_timeout.0.is_zero()),
            ("stall_timeout", self.stall_timeout.0.is_zero()),
            ("nats_max_age", self.nats_max_age.0.is_zero()),
            ("nats_max_bytes", is_zero(self.nats_max_bytes)),
            ("nats_patience", self.nats_patience.0.is_zero()),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(format!("{name} must be more than 0")),
            None => Ok(()),
        }
    }
}
