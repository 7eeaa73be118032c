//! TLS 1.2 and 1.3, by rustls: the certificate, which may be replaced while streams go on, and whose certificates clients must
//! have, if they must have any.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::watched_file::{FileError, Reload, Watched};

/// What a client may speak inside (RFC 7301), the best first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2, as it is named there (RFC 9113, section 3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// The files, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The server's certificate, and those between it and one that clients know.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Whose certificates clients must have; if nobody's, they need none.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What a connection begins with.
#[derive(Debug, Clone)]
pub(super) struct Tls(Arc<Watched<TlsAcceptor>>);

impl Tls {
    pub(super) fn open(files: TlsFiles) -> Result<Self, FileError> {
        let TlsFiles { certificate, key, client_ca } = files.clone();
        let all = [certificate, key].into_iter().chain(client_ca).collect();
        Watched::open(all, move |texts| acceptor(&files, texts)).map(Arc::new).map(Self)
    }

    /// The files, to be looked at now and then.
    pub(super) fn files(&self) -> Arc<dyn Reload> {
        Arc::clone(&self.0) as Arc<dyn Reload>
    }

    /// For a connection that begins now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::clone(&self.0.get())
    }
}

fn acceptor(files: &TlsFiles, texts: &[Vec<u8>]) -> Result<TlsAcceptor, FileError> {
    let chain: Vec<_> = certificates(&texts[0]).map_err(of(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_slice(&texts[1]).map_err(of(&files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(of(&files.certificate))?;
    let builder = match (&files.client_ca, texts.get(2)) {
        (Some(file), Some(text)) => {
            let mut roots = rustls::RootCertStore::empty();
            for authority in certificates(text).map_err(of(file))? {
                roots.add(authority).map_err(of(file))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(of(file))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(of(&files.key))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config).into())
}

/// All that stand in a text; at least one.
fn certificates(
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err(rustls::pki_types::pem::Error::NoItemsFound);
    }
    Ok(certificates)
}

/// The failure of a file.
fn of<E: std::error::Error + Send + Sync + 'static>(
    file: &std::path::Path,
) -> impl Fn(E) -> FileError {
    move |error| FileError::new(file, error)
}
