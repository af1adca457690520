//! Certificates: a self-signed one, or one from PEM text. Files are read and written by the caller.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a server shows of itself.
#[derive(Clone)]
pub struct Identity {
    /// The certificate and those it was signed with, PEM.
    pub certificates_pem: String,
    /// The certificate's key, PEM. Secret.
    pub key_pem: String,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A text that is not PEM, or not of a certificate or key.
    #[error("{part} is not valid PEM: {reason}")]
    Pem {
        /// `certificate` or `key`.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate text holds none.
    #[error("the certificate file holds no certificate")]
    NoCertificate,
    /// Certificate and key do not belong together, or are of a kind that cannot be used.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Identity {
    /// A certificate that nobody vouches for: Java and Go clients, which speak TLS unless told otherwise, accept it.
    ///
    /// # Errors
    /// [`Error::Make`], for names that cannot stand in a certificate.
    pub fn self_signed(names: Vec<String>) -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed(names)?;
        Ok(Self { certificates_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() })
    }

    /// Checks that certificate and key can be used, and prepares them for servers that agree on one of `protocols` (ALPN),
    /// or on nothing if there are none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn server_config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        let pem = |part| move |error: rustls_pki_types::pem::Error| Error::Pem { part, reason: error.to_string() };
        let certificates = CertificateDer::pem_slice_iter(self.certificates_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem("certificate"))?;
        if certificates.is_empty() {
            return Err(Error::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(pem("key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_can_be_used() {
        let identity = Identity::self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
        let config = identity.server_config(&[b"h2"]).expect("usable");
        assert_eq!(config.alpn_protocols, [b"h2".to_vec()]);
        assert!(!format!("{identity:?}").contains("KEY"), "the key stays out of logs");
    }

    #[test]
    fn bad_files_are_named() {
        let good = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
        let no_certificate = Identity { certificates_pem: String::new(), ..good.clone() };
        assert!(matches!(no_certificate.server_config(&[]), Err(Error::NoCertificate)));
        let no_key = Identity { key_pem: "x".to_owned(), ..good.clone() };
        assert!(matches!(no_key.server_config(&[]), Err(Error::Pem { part: "key", .. })));
        let other = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
        let mismatch = Identity { key_pem: other.key_pem, ..good };
        assert!(matches!(mismatch.server_config(&[]), Err(Error::Unusable(_))));
    }
}
