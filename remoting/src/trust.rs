//! Whom a client that speaks TLS believes to be who they say they are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Error;

/// See the module's head; copies share their sessions.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Believes who shows one of these certificates, or one that an authority among them signed, PEM, for the host that was asked for, and
    /// within its time. One that is not an authority's vouches for nothing but itself.
    ///
    /// # Errors
    /// The text holds no certificate, or one that cannot be used.
    pub fn only(certificates_pem: &str) -> Result<Self, Error> {
        let listed = CertificateDer::pem_slice_iter(certificates_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Pem { part: "certificate", reason: error.to_string() })?;
        if listed.is_empty() {
            return Err(Error::NoCertificate);
        }
        for certificate in &listed {
            ParsedCertificate::try_from(certificate)?;
        }
        Self::of(Whom::Only(listed))
    }

    /// Believes everybody: nobody who only listens can read along, but whoever answers may be somebody else. So do Apache's clients, unless
    /// they are told otherwise (`tls.client.authServer`), and brokers of both show certificates that nobody vouches for.
    ///
    /// # Errors
    /// There is no version of TLS that can be spoken.
    pub fn everybody() -> Result<Self, Error> {
        Self::of(Whom::Everybody)
    }

    fn of(whom: Whom) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Verifier { whom, algorithms: provider.signature_verification_algorithms });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Agrees on TLS with the peer at `address` (`HOST:PORT`).
    pub(crate) async fn connect(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

#[derive(Debug)]
enum Whom {
    Everybody,
    /// Those who show one of these, or one of an authority's among them.
    Only(Vec<CertificateDer<'static>>),
}

/// Looks at what is shown, and whether the peer has its key.
#[derive(Debug)]
struct Verifier {
    whom: Whom,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a certificate is for.
enum Kind {
    Server,
    Authority,
}

impl Verifier {
    /// What a certificate is for, if it is within its time; whoever signed it.
    fn kind(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<Kind, rustls::Error> {
        match self.signed(certificate, &RootCertStore::empty(), &[], now) {
            // Who signed it is looked at last.
            Ok(()) | Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Ok(Kind::Server),
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))))
                if matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Ok(Kind::Authority)
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that one of `roots` signed it, with those between, and the time of all of them.
    fn signed(
        &self,
        certificate: &CertificateDer<'_>,
        roots: &RootCertStore,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, self.algorithms.all)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Whom::Only(listed) = &self.whom else { return Ok(ServerCertVerified::assertion()) };
        if listed.contains(shown) {
            self.kind(shown, now)?;
        } else {
            let mut roots = RootCertStore::empty();
            for authority in listed.iter().filter(|listed| matches!(self.kind(listed, now), Ok(Kind::Authority))) {
                roots.add(authority.clone())?;
            }
            self.signed(shown, &roots, between, now)?;
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, host)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_text_without_a_certificate_is_refused() {
        assert!(matches!(Trust::only(""), Err(Error::NoCertificate)));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Trust::only(broken), Err(Error::Pem { .. })));
    }

    /// A certificate for `host` and who signs with it; `issuer` signs it, or itself does.
    fn certificate(host: &str, is_authority: bool, issuer: Option<&Made>) -> Made {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, format!("{host} {is_authority}"));
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        let key = KeyPair::generate().expect("a key");
        match issuer {
            Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).expect("made"),
            None => CertifiedIssuer::self_signed(params, key).expect("made"),
        }
    }

    type Made = CertifiedIssuer<'static, KeyPair>;

    /// Within the time of the certificates, and behind it; seconds since 1970.
    const WITHIN: u64 = 960_000_000;
    const BEHIND: u64 = 980_000_000;

    /// Whether `shown` is believed to be host `a` with these listed.
    fn is_believed(listed: &[&Made], shown: &Made, now: u64) -> bool {
        let listed = listed.iter().map(|made| made.der().clone()).collect();
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let verifier = Verifier { whom: Whom::Only(listed), algorithms };
        let host = ServerName::try_from("a").expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        verifier.verify_server_cert(shown.der(), &[], &host, &[], now).is_ok()
    }

    #[test]
    fn a_listed_certificate_is_believed_itself_for_its_host_and_time() {
        let authority = certificate("ca", true, None);
        for own in [None, Some(&authority)] {
            for is_authority in [false, true] {
                let listed = certificate("a", is_authority, own);
                assert!(is_believed(&[&listed], &listed, WITHIN));
                assert!(!is_believed(&[&listed], &listed, BEHIND));
                assert!(!is_believed(&[&authority], &certificate("a", is_authority, None), WITHIN), "a stranger's");
            }
            let other = certificate("b", false, own);
            assert!(!is_believed(&[&other], &other, WITHIN));
        }
    }

    #[test]
    fn authorities_sign_for_others_and_servers_do_not() {
        for is_authority in [false, true] {
            let listed = certificate("b", is_authority, None);
            let signed = certificate("a", false, Some(&listed));
            assert_eq!(is_believed(&[&listed], &signed, WITHIN), is_authority);
            assert!(!is_believed(&[&listed], &signed, BEHIND));
            assert!(!is_believed(&[&listed], &certificate("c", false, Some(&listed)), WITHIN), "of another host");
        }
    }
}
