//! An operator of NATS who vouches for an account, and the account for its users: JWTs, as `nsc` makes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

pub(crate) struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

/// What a hub is known by.
pub(crate) struct Credentials {
    /// What stands in the file.
    pub(crate) file: String,
    pub(crate) seed: String,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let [system, account] = [KeyPair::new_account(), KeyPair::new_account()];
        Self { operator: KeyPair::new_operator(), system, account }
    }

    /// The lines by which a server lets in whom the operator's account vouches for.
    pub(crate) fn lets_in(&self) -> String {
        let [system, account] = [&self.system, &self.account].map(KeyPair::public_key);
        let operator = json!({"type": "operator", "version": 2, "system_account": system});
        let operator = jwt(&self.operator, &self.operator, &json!({"nats": operator}));
        let [system_jwt, account_jwt] =
            [(&self.system, 0), (&self.account, -1)].map(|(key, most)| {
                let limits = json!({
                    "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1,
                    "exports": -1, "wildcards": true, "mem_storage": most, "disk_storage": most,
                    "streams": most, "consumer": most,
                });
                let account = json!({"type": "account", "version": 2, "limits": limits});
                jwt(&self.operator, key, &json!({"nats": account}))
            });
        format!(
            "operator: {operator}\n\
             system_account: {system}\n\
             resolver: MEMORY\n\
             resolver_preload: {{ {system}: {system_jwt}, {account}: {account_jwt} }}"
        )
    }

    /// A new user for whom the account vouches until then.
    pub(crate) fn user(&self, until: SystemTime) -> Credentials {
        let key = KeyPair::new_user();
        let user = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let jwt = jwt(&self.account, &key, &json!({"exp": seconds(until), "nats": user}));
        let seed = key.seed().unwrap();
        let file = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        Credentials { file, seed }
    }
}

/// What one says of another.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["iss"] = json!(issuer.public_key());
    claims["sub"] = json!(subject.public_key());
    claims["name"] = json!("hubs");
    claims["iat"] = json!(seconds(SystemTime::now() - Duration::from_secs(7200)));
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signature = issuer.sign(format!("{header}.{claims}").as_bytes()).unwrap();
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}
