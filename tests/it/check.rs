//! `telemetry-hub check`: what settings would open to whom.

use std::path::Path;
use std::process::Output;

use crate::harness::{Certificates, within_patience};

/// Checks a file of settings.
async fn check(name: &str, settings: &str) -> Output {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}.toml"));
    std::fs::write(&file, settings).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["check", "--config"]).arg(file).env_remove("TELEMETRY_HUB_WEBHOOK_KEY");
    within_patience(command.output()).await.unwrap()
}

const TOKENS: &str = r#"
[[tokens]]
name = "alice"
hash = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
scopes = ["traces", "metrics"]
filter = "account-name=alice"
metrics = "smtp"
expires = "2000-01-01T00:00:00Z"
[[tokens]]
name = "b"
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
scopes = ["admin"]
"#;

#[tokio::test]
async fn good_settings_are_told_in_words() {
    let jwt = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/jwt/ES256.pem");
    let tls = Certificates::for_localhost();
    let (certificate, key) = (tls.certificate.display(), tls.key.display());
    let everything = format!(
        "listen = \"0.0.0.0:443\"\notlp_http = \"off\"\nwebhook_keys = [\"s3cret\"]\ncors_origins = [\"https://status.example\"]\n\
         tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\ntls_client_ca = \"{certificate}\"\n\
         [[jwt_keys]]\nalgorithm = \"ES256\"\nfile = \"{jwt}\"\nissuer = \"https://idp.example\"\naudience = \"hub\"\n{TOKENS}"
    );
    for (name, settings, told, untold) in [
        (
            "nothing",
            String::new(),
            &[
                "http://127.0.0.1:8787: everything, from this machine",
                "http://127.0.0.1:4317: OTLP alone",
                "everybody on this machine: everything",
            ][..],
            &["Look at this"][..],
        ),
        (
            "signed",
            "webhook_keys = [\"s3cret\"]".to_owned(),
            &["of those who send events, those who sign with a webhook key (1)"],
            &["s3cret"],
        ),
        (
            "exposed",
            format!("listen = \"0.0.0.0:80\"\n{TOKENS}"),
            &[
                "http://0.0.0.0:80: everything, from anywhere",
                "without TLS",
                "the token \"alice\" has expired",
                "some tokens never expire",
            ],
            &["everybody on this machine"],
        ),
        (
            "everything",
            everything,
            &[
                "https://0.0.0.0:443: everything, from anywhere",
                "the holder of the token \"alice\": traces metrics, of events those of account-name=alice&follow=span, of series smtp, until 2000-01-01T00:00:00Z",
                "the holder of the token \"b\": admin",
                "a JWT of https://idp.example for hub by",
                "whoever signs with a webhook key (1): send events",
                "of all these, those with a certificate by",
                "pages of https://status.example",
            ],
            &["without TLS", "s3cret", "4318", "2bb80d"],
        ),
    ] {
        let output = check(name, &settings).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {error}");
        assert!(text.starts_with("These settings are good.\n"), "{text}");
        for part in told {
            assert!(text.contains(part), "{name}: {part}: {text}");
        }
        for part in untold {
            assert!(!text.contains(part), "{name}: {part}: {text}");
        }
    }
}

#[tokio::test]
async fn bad_settings_are_exit_code_2_and_a_reason() {
    let key = |file: &str| {
        format!(
            "[[jwt_keys]]\nalgorithm = \"ES256\"\nfile = \"{file}\"\nissuer = \"i\"\naudience = \"a\"\n"
        )
    };
    for (name, settings, told) in [
        ("exposed-alone", "listen = \"0.0.0.0:80\"".to_owned(), "make tokens first"),
        ("unknown", "lisen = \"127.0.0.1:1\"".to_owned(), "lisen"),
        ("no-file", key("/nowhere"), "/nowhere: No such file"),
        (
            "no-key",
            key(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
            "Cargo.toml: no key for ES256",
        ),
        ("no-file-at-all", key("/dev/null"), "/dev/null: not a file"),
        ("half", "tls_key = \"/dev/null\"".to_owned(), "needs both"),
        ("tls", "tls_key = \"/dev/null\"\ntls_certificate = \"/dev/null\"".to_owned(), "/dev/null"),
        ("origin", "cors_origins = [\"*\"]".to_owned(), "expected an origin"),
    ] {
        let output = check(name, &settings).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(told), "{name}: {error}");
        assert!(output.stdout.is_empty(), "{name}");
    }
}
