//! What is shown to the API server and to other replicas, as it was last read: from the Secret, or from a folder that somebody
//! else fills (cert-manager's Secret, mounted).
//!
//! Replicas prove themselves to each other by a word that is made from the private key: who has that is one of us. While keys
//! change one of two may not know the new word yet, and is refused; the pod that it asked for then runs on nodes.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use super::certs::Kept;

/// What is shown and what is trusted.
#[derive(Clone)]
pub(crate) struct Shown {
    /// To answer with.
    pub(crate) server: Arc<ServerConfig>,
    /// To ask other replicas with.
    pub(crate) client: ClientConfig,
    /// What others trust us by, as PEM.
    pub(crate) bundle: String,
    /// What replicas say to each other.
    pub(crate) word: String,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Shown {
    /// From what is kept.
    ///
    /// # Errors
    /// What of it is no PEM, or does not belong together.
    pub(crate) fn of(kept: &Kept) -> Result<Self> {
        Self::new(&kept.current.certificate, &kept.current.key, kept.bundle())
    }

    /// From a folder with `tls.crt`, `tls.key` and `ca.crt`.
    ///
    /// # Errors
    /// Which file cannot be read, or is not what it should be.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let all = Self::new(&read("tls.crt")?, &read("tls.key")?, read("ca.crt")?);
        all.with_context(|| format!("the certificate in {} is of no use", folder.display()))
    }

    fn new(certificate: &str, key: &str, bundle: String) -> Result<Self> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .context("the certificate is no PEM")?;
        let secret = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the key is no PEM")?;
        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .context("certificate and key do not belong together")?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots
                .add(authority.context("the authority is no PEM")?)
                .context("an authority cannot be read")?;
        }
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let digest = Sha256::new().chain_update(b"stowage caps\n").chain_update(key.as_bytes()).finalize();
        let mut word = String::with_capacity(2 * digest.len());
        for byte in digest {
            write!(word, "{byte:02x}")?;
        }
        Ok(Self { server: Arc::new(server), client, bundle, word })
    }
}

#[cfg(test)]
mod tests {
    use super::super::certs::make;
    use super::*;

    #[test]
    fn what_does_not_belong_together_is_not_shown() {
        let names = ["stowage.stowage.svc".to_owned()];
        let (a, b) = (make(&names, 1_700_000_000).unwrap(), make(&names, 1_700_000_000).unwrap());
        assert!(Shown::new(&a.certificate, &a.key, a.authority.clone()).is_ok());
        assert!(Shown::new(&a.certificate, &b.key, a.authority.clone()).is_err());
        assert!(Shown::new("", &a.key, a.authority.clone()).is_err());
        assert!(Shown::new(&a.certificate, "", a.authority.clone()).is_err());
        let word = |pair: &super::super::certs::Pair| {
            Shown::new(&pair.certificate, &pair.key, pair.authority.clone()).unwrap().word
        };
        assert_ne!(word(&a), word(&b));
        assert!(Shown::in_folder(Path::new("/nowhere")).unwrap_err().to_string().contains("tls.crt"));
    }
}
