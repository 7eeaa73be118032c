//! A private authority, and the certificates of those for whom it vouches.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, by which others know whom it vouches for.
    pub(crate) certificate: String,
}

/// Files.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = folder.join("ca.pem");
        std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key), certificate: path(certificate) }
    }

    /// A certificate for a server on this machine.
    pub(crate) fn server(&self) -> Certificate {
        self.vouch("server", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for one who comes to a server.
    pub(crate) fn client(&self) -> Certificate {
        self.vouch("client", &["hub"], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn vouch(&self, name: &str, hosts: &[&str], purpose: ExtendedKeyUsagePurpose) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name, hosts);
        params.extended_key_usages = vec![purpose];
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let files = [".pem", ".key"].map(|end| self.folder.join(format!("{name}{end}")));
        std::fs::write(&files[0], signed.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        let [certificate, key] = files.map(path);
        Certificate { certificate, key }
    }
}

impl Certificate {
    /// A line of the key itself.
    pub(crate) fn secret(&self) -> String {
        std::fs::read_to_string(&self.key).unwrap().lines().nth(1).unwrap().to_owned()
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn path(file: PathBuf) -> String {
    file.into_os_string().into_string().unwrap()
}
