//! Every way in which a hub shows a NATS server who it is: the right one lets it in, the wrong one does not, and the hub says why.
//! It never tells anybody by what it would have been known.

use std::time::{Duration, SystemTime};

use nkeys::KeyPair;

use crate::certificates::Authority;
use crate::credentials::Operator;
use crate::lone_hub::LoneHub;
use crate::lone_server::LoneServer;
use crate::ports::free_port;
use crate::run::take_turn;

/// Why a hub is not joined that NATS does not know.
pub(crate) const UNKNOWN: &str = "NATS does not let this hub in: authorization violation";

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_user_and_a_password_in_the_address() {
    let (_turn, folder) = take_turn("identity: user and password").await;
    let lets_in = "authorization { user: hub, password: \"s3cret/@:%\" }";
    let server = LoneServer::start(&folder, lets_in).await;
    let right = [("NATS", &*server.url("hub:s3cret%2F%40%3A%25@"))];
    let hub = LoneHub::start(&folder, "right", &right).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&["s3cret"]).await;
    let wrong = [("NATS", &*server.url("hub:gue55ed@"))];
    let hub = LoneHub::start(&folder, "wrong", &wrong).await;
    hub.is_refused(UNKNOWN).await;
    hub.keeps_to_itself(&["s3cret", "gue55ed"]).await;
    let none = [("NATS", &*server.url(""))];
    LoneHub::start(&folder, "none", &none).await.is_refused(UNKNOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_token_in_the_address() {
    let (_turn, folder) = take_turn("identity: token").await;
    let server = LoneServer::start(&folder, "authorization { token: \"t0ken+/=\" }").await;
    let right = [("NATS", &*server.url("t0ken%2B%2F%3D@"))];
    let hub = LoneHub::start(&folder, "right", &right).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&["t0ken"]).await;
    let wrong = [("NATS", &*server.url("gue55ed@"))];
    let hub = LoneHub::start(&folder, "wrong", &wrong).await;
    hub.is_refused(UNKNOWN).await;
    hub.keeps_to_itself(&["t0ken", "gue55ed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn an_nkey() {
    let (_turn, folder) = take_turn("identity: nkey").await;
    let [known, unknown] = [KeyPair::new_user(), KeyPair::new_user()];
    let lets_in = format!("authorization {{ users: [{{ nkey: {} }}] }}", known.public_key());
    let server = LoneServer::start(&folder, &lets_in).await;
    let (url, file) = (server.url(""), folder.join("nats.nk"));
    let settings = [("NATS", &*url), ("NATS_NKEY", file.to_str().unwrap())];
    let [known, unknown] = [known, unknown].map(|key| key.seed().unwrap());
    std::fs::write(&file, format!("{known}\n")).unwrap();
    let hub = LoneHub::start(&folder, "right", &settings).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&[&known]).await;
    std::fs::write(&file, &unknown).unwrap();
    let hub = LoneHub::start(&folder, "wrong", &settings).await;
    hub.is_refused(UNKNOWN).await;
    hub.keeps_to_itself(&[&unknown]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_server_by_its_authority() {
    let (_turn, folder) = take_turn("identity: authority of the server").await;
    let authority = Authority::new(&folder, "authority");
    let leaf = authority.server();
    let lets_in = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", leaf.certificate, leaf.key);
    let server = LoneServer::start(&folder, &lets_in).await;
    let url = server.tls_url();
    let right = [("NATS", &*url), ("NATS_CA", &authority.certificate)];
    LoneHub::start(&folder, "right", &right).await.carries_events().await;
    let hub = LoneHub::start(&folder, "without", &right[..1]).await;
    hub.is_refused("invalid peer certificate: UnknownIssuer").await;
    let other = Authority::new(&folder, "other");
    let wrong = [("NATS", &*url), ("NATS_CA", &other.certificate)];
    let hub = LoneHub::start(&folder, "wrong", &wrong).await;
    hub.is_refused("invalid peer certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_certificate_of_the_hub() {
    let (_turn, folder) = take_turn("identity: certificate of the hub").await;
    let authority = Authority::new(&folder, "authority");
    let leaf = authority.server();
    let lets_in = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        leaf.certificate, leaf.key, authority.certificate
    );
    let server = LoneServer::start(&folder, &lets_in).await;
    let url = server.tls_url();
    let trusting = [("NATS", &*url), ("NATS_CA", &authority.certificate)];
    let shows = |name: &'static str, authority: &Authority| {
        let (shown, folder, trusting) = (authority.client(), folder.clone(), trusting);
        async move {
            let certificate = ("NATS_CLIENT_CERTIFICATE", &*shown.certificate);
            let settings =
                [&trusting[..], &[certificate, ("NATS_CLIENT_KEY", &shown.key)]].concat();
            (LoneHub::start(&folder, name, &settings).await, shown.secret())
        }
    };
    let (hub, secret) = shows("right", &authority).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&[&secret]).await;
    let hub = LoneHub::start(&folder, "without", &trusting).await;
    hub.is_refused("received fatal alert: CertificateRequired").await;
    let (hub, secret) = shows("wrong", &Authority::new(&folder, "other")).await;
    hub.is_refused("received fatal alert").await;
    hub.keeps_to_itself(&[&secret]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn credentials_of_an_account() {
    let (_turn, folder) = take_turn("identity: credentials").await;
    let operator = Operator::new();
    let server = LoneServer::start(&folder, &operator.lets_in()).await;
    let (url, file) = (server.url(""), folder.join("hub.creds"));
    let settings = [("NATS", &*url), ("NATS_CREDENTIALS", file.to_str().unwrap())];
    let (now, stranger) = (SystemTime::now(), Operator::new());
    let valid = operator.user(now + HOUR);
    std::fs::write(&file, &valid.file).unwrap();
    let hub = LoneHub::start(&folder, "right", &settings).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&[&valid.seed]).await;
    for (name, wrong) in
        [("expired", operator.user(now - HOUR)), ("stranger", stranger.user(now + HOUR))]
    {
        std::fs::write(&file, &wrong.file).unwrap();
        let hub = LoneHub::start(&folder, name, &settings).await;
        hub.is_refused(UNKNOWN).await;
        hub.keeps_to_itself(&[&wrong.seed]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn files_that_hold_something_else() {
    let (_turn, folder) = take_turn("identity: files with something else").await;
    let server = LoneServer::start(&folder, "").await;
    let (url, file, missing) = (server.url(""), folder.join("file"), folder.join("missing"));
    let [file, missing] = [&file, &missing].map(|path| path.to_str().unwrap());
    // Pasted into the wrong file, it is a secret all the same.
    std::fs::write(file, "pa55word\n").unwrap();
    for (setting, path, reason) in [
        ("NATS_NKEY", missing, missing),
        ("NATS_NKEY", file, file),
        ("NATS_CREDENTIALS", missing, missing),
        ("NATS_CREDENTIALS", file, file),
        ("NATS_CA", missing, missing),
    ] {
        let name = format!("{setting}-{}", path == missing);
        let hub = LoneHub::start(&folder, &name, &[("NATS", &*url), (setting, path)]).await;
        hub.is_refused(reason).await;
        hub.keeps_to_itself(&["pa55word"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn one_of_several_servers_is_there() {
    let (_turn, folder) = take_turn("identity: one of several servers").await;
    let server = LoneServer::start(&folder, "authorization { user: hub, password: s3cret }").await;
    // What stands in one address goes for all.
    let [gone, gone_too] = [free_port().await, free_port().await];
    let gone = format!("nats://hub:s3cret@127.0.0.1:{gone}");
    let second = format!("{gone},{}", server.url(""));
    let hub = LoneHub::start(&folder, "second", &[("NATS", &second)]).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&["s3cret"]).await;
    let none = format!("{gone},nats://127.0.0.1:{gone_too}");
    let hub = LoneHub::start(&folder, "none", &[("NATS", &none)]).await;
    hub.is_refused("no server of NATS can be reached").await;
    hub.keeps_to_itself(&["s3cret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_server_by_its_address_of_ipv6() {
    let (_turn, folder) = take_turn("identity: IPv6").await;
    let server = LoneServer::start(&folder, "authorization { user: hub, password: s3cret }").await;
    let url = format!("nats://hub:s3cret@[::1]:{}", server.port);
    let hub = LoneHub::start(&folder, "right", &[("NATS", &url)]).await;
    hub.carries_events().await;
    hub.keeps_to_itself(&["s3cret"]).await;
}
