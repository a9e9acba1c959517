//! TLS through rustls, to the extent that `sslmode` requests.
//!
//! `prefer` and `require` encrypt without verifying the server, as everywhere with PostgreSQL. `verify-ca` requires a
//! certificate that `sslrootcert` vouches for, `verify-full` also one with the host's name; `certificate.rs` has the
//! rules for both.

use std::path::Path;
use std::sync::Arc;

use eventsourcing_core::store::StoreError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Tls, Verify};
use crate::certificate::ServerCertificate;
use crate::connection_string::invalid;

/// Creates the connector for connections with the parameters `tls`.
///
/// # Errors
/// [`StoreError::Invalid`]: a certificate or a key is missing or cannot be read.
pub(crate) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let versions: Vec<_> = [(&TLS13, tls.allows_1_3), (&TLS12, tls.allows_1_2)]
        .into_iter()
        .filter_map(|(version, is_allowed)| is_allowed.then_some(version))
        .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions);
    let builder = builder.map_err(|error| invalid(format!("TLS cannot be set up: {error}")))?;
    let trust = match (tls.verify, &tls.root_certificate) {
        (Verify::Nothing, _) => None,
        (_, Some(path)) => Some(TrustedCertificates::read(path, &provider)?),
        (_, None) => {
            return Err(invalid(
                "sslmode=verify-ca and verify-full need sslrootcert, the path of a PEM file",
            ));
        }
    };
    let verifier = Verifier {
        provider,
        trust,
        checks_host: tls.verify == Verify::IssuerAndHost,
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = read_certificates("sslcert", certificate)?;
            let unreadable = |error: &dyn std::fmt::Display| {
                invalid(format!("sslkey {}: {error}", key.display()))
            };
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(&error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unreadable(&error))?
        }
    };
    config.enable_sni = tls.sends_host;
    Ok(MakeRustlsConnect::new(config))
}

fn read_certificates(
    parameter: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let refused =
        |error: &dyn std::fmt::Display| invalid(format!("{parameter} {}: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))?;
    let certificates = certificates
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&error))?;
    match certificates.is_empty() {
        true => Err(refused(&"there is no certificate in it")),
        false => Ok(certificates),
    }
}

/// The certificates that `sslrootcert` names.
#[derive(Debug)]
struct TrustedCertificates {
    certificates: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl TrustedCertificates {
    fn read(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, StoreError> {
        let refused = |error: &dyn std::fmt::Display| {
            invalid(format!("sslrootcert {}: {error}", path.display()))
        };
        let certificates = read_certificates("sslrootcert", path)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| refused(&error))?;
        }
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build();
        Ok(Self {
            certificates,
            chains: chains.map_err(|error| refused(&error))?,
        })
    }
}

/// Verifies the certificate of a server.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: encrypts without verifying the server.
    trust: Option<TrustedCertificates>,
    checks_host: bool,
}

impl Verifier {
    /// Checks the issuer as OpenSSL does. A certificate that `sslrootcert` itself contains vouches for itself, be it
    /// self-signed or one of an authority; and a certificate that webpki does not accept as that of a server may be
    /// signed directly by a certificate of `sslrootcert`.
    fn check_issuer(
        &self,
        trust: &TrustedCertificates,
        certificate: &ServerCertificate<'_>,
        chain: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if trust
            .certificates
            .iter()
            .any(|trusted| trusted == certificate.der())
        {
            return certificate.check_time(now);
        }
        match trust
            .chains
            .verify_server_cert(certificate.der(), chain, host, &[], now)
        {
            // webpki checks the name last, so a certificate that fails only there has a valid chain.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(Error::InvalidCertificate(error)) if is_about_kind(&error) => {
                certificate.check_time(now)?;
                let algorithms = &self.provider.signature_verification_algorithms;
                match trust
                    .certificates
                    .iter()
                    .any(|issuer| certificate.is_signed_by(issuer, algorithms, now))
                {
                    true => Ok(()),
                    false => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns `true` for a certificate that webpki refuses for its kind: X.509 below version 3, or that of an authority.
fn is_about_kind(error: &CertificateError) -> bool {
    use webpki::Error::{CaUsedAsEndEntity, UnsupportedCertVersion};
    let CertificateError::Other(OtherError(cause)) = error else {
        return false;
    };
    matches!(
        cause.downcast_ref(),
        Some(CaUsedAsEndEntity | UnsupportedCertVersion)
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            let certificate = ServerCertificate::parse(certificate)?;
            self.check_issuer(trust, &certificate, chain, host, now)?;
            if self.checks_host {
                certificate.check_host(host)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls12_signature(message, certificate, signed, algorithms) {
            Err(Error::InvalidCertificate(error)) if is_about_kind(&error) => {
                ServerCertificate::parse(certificate)?
                    .check_handshake_1_2(message, signed, algorithms)
            }
            verdict => verdict,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls13_signature(message, certificate, signed, algorithms) {
            Err(Error::InvalidCertificate(error)) if is_about_kind(&error) => {
                ServerCertificate::parse(certificate)?
                    .check_handshake_1_3(message, signed, algorithms)
            }
            verdict => verdict,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
