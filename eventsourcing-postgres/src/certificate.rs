//! The certificate of a server, read as OpenSSL, and therefore libpq, reads it.
//!
//! rustls verifies with webpki, which is made for the web: it reads X.509 version 3 only, takes names only from the
//! alternative names, and refuses the certificate of an authority as that of a server. Certificates that `openssl req`
//! makes by default often fail all three rules. Signatures are still verified by webpki and ring.

use std::net::IpAddr;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
};
use webpki::RawPublicKeyEntity;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A parsed certificate.
pub(crate) struct ServerCertificate<'a> {
    der: &'a CertificateDer<'a>,
    read: Certificate,
}

/// The names in a certificate.
struct Names {
    /// The patterns of host names among the alternative names.
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    common: Option<String>,
}

impl<'a> ServerCertificate<'a> {
    pub(crate) fn parse(der: &'a CertificateDer<'a>) -> Result<Self, Error> {
        let read = Certificate::from_der(der)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        Ok(Self { der, read })
    }

    pub(crate) fn der(&self) -> &'a CertificateDer<'a> {
        self.der
    }

    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), Error> {
        let validity = &self.read.tbs_certificate.validity;
        let now = Duration::from_secs(now.as_secs());
        if now < validity.not_before.to_unix_duration() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        if now > validity.not_after.to_unix_duration() {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        Ok(())
    }

    /// Returns `true` if the trusted `issuer` has signed this certificate and is still valid.
    pub(crate) fn is_signed_by(
        &self,
        issuer: &CertificateDer<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> bool {
        let Ok(issuer) = ServerCertificate::parse(issuer) else {
            return false;
        };
        if issuer.read.tbs_certificate.subject != self.read.tbs_certificate.issuer
            || issuer.check_time(now).is_err()
        {
            return false;
        }
        let Ok(key) = issuer.public_key() else {
            return false;
        };
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
            return false;
        };
        let Ok(signed) = self.read.tbs_certificate.to_der() else {
            return false;
        };
        let Some(signature) = self.read.signature.as_bytes() else {
            return false;
        };
        // Every supported algorithm is strong enough, so it does not matter which one verifies the signature.
        algorithms
            .all
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, &signed, signature).is_ok())
    }

    /// Checks that the peer holds the private key of this certificate.
    pub(crate) fn check_handshake_1_3(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &self.public_key()?, signed, algorithms)
    }

    /// Checks that the peer holds the private key of this certificate.
    pub(crate) fn check_handshake_1_2(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        let unread = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let key = self.public_key()?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(unread)?;
        let offered = algorithms_of(signed.scheme, algorithms)?;
        // A signature scheme of TLS 1.2 does not determine the curve, so there are several candidates.
        match offered.iter().any(|offered| {
            key.verify_signature(*offered, message, signed.signature())
                .is_ok()
        }) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }

    /// Checks the host as libpq does: against the alternative names, and against the common name if there is no
    /// alternative name of the host's kind.
    pub(crate) fn check_host(&self, host: &ServerName<'_>) -> Result<(), Error> {
        let names = self.names();
        let fits = match host {
            ServerName::DnsName(host) => {
                let host = host.as_ref();
                match names.hosts.is_empty() {
                    true => names
                        .common
                        .as_deref()
                        .is_some_and(|name| is_name_of(name, host)),
                    false => names.hosts.iter().any(|name| is_name_of(name, host)),
                }
            }
            ServerName::IpAddress(host) => {
                let host = IpAddr::from(*host);
                let text = host.to_string();
                let is_common = || names.common.as_deref().is_some_and(|name| name == text);
                let has_none = names.addresses.is_empty() && names.hosts.is_empty();
                names.addresses.contains(&host)
                    || names.hosts.contains(&text)
                    || has_none && is_common()
            }
            _ => false,
        };
        match fits {
            true => Ok(()),
            false => Err(other(format!(
                "the certificate is for {}, not for {}",
                names.shown(),
                host.to_str()
            ))),
        }
    }

    fn names(&self) -> Names {
        let certificate = &self.read.tbs_certificate;
        let mut names = Names {
            hosts: Vec::new(),
            addresses: Vec::new(),
            common: common_name(&self.read),
        };
        let Ok(Some((_, SubjectAltName(alternatives)))) = certificate.get::<SubjectAltName>()
        else {
            return names;
        };
        for alternative in alternatives {
            match alternative {
                GeneralName::DnsName(name) => names.hosts.push(name.as_str().to_owned()),
                GeneralName::IpAddress(bytes) => names.addresses.extend(address(bytes.as_bytes())),
                _ => {}
            }
        }
        names
    }

    fn public_key(&self) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
        let key = self.read.tbs_certificate.subject_public_key_info.to_der();
        key.map(Into::into)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
    }
}

impl Names {
    fn shown(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let mut names: Vec<_> = self.hosts.iter().cloned().chain(addresses).collect();
        if names.is_empty() {
            names.extend(self.common.clone());
        }
        if names.is_empty() {
            "no host".to_owned()
        } else {
            names.join(", ")
        }
    }
}

/// Returns the error for a refused certificate, with a reason for people.
fn other(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(
        Refused(why),
    ))))
}

#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn algorithms_of(
    scheme: SignatureScheme,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<&'static [&'static dyn rustls::pki_types::SignatureVerificationAlgorithm], Error> {
    let found = algorithms
        .mapping
        .iter()
        .find(|(offered, _)| *offered == scheme);
    let not_offered = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
    found
        .map(|(_, algorithms)| *algorithms)
        .ok_or(Error::PeerMisbehaved(not_offered))
}

/// Returns the last common name of the subject, which is the one that OpenSSL takes.
fn common_name(certificate: &Certificate) -> Option<String> {
    let mut parts = certificate
        .tbs_certificate
        .subject
        .0
        .iter()
        .flat_map(|part| part.0.iter());
    let name = parts.rfind(|part| part.oid == COMMON_NAME)?;
    let value = &name.value;
    let text = value
        .decode_as::<Utf8StringRef<'_>>()
        .map(|text| text.as_str().to_owned());
    let text = text.or_else(|_| {
        value
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.as_str().to_owned())
    });
    let text = text.or_else(|_| {
        value
            .decode_as::<Ia5StringRef<'_>>()
            .map(|text| text.as_str().to_owned())
    });
    text.or_else(|_| {
        value
            .decode_as::<TeletexStringRef<'_>>()
            .map(|text| text.as_str().to_owned())
    })
    .ok()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// Returns `true` if `pattern` is the host, or `*.` followed by the part after the host's first label.
fn is_name_of(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    let behind_label = || host.split_once('.').map(|(_, rest)| rest);
    match pattern.strip_prefix("*.") {
        Some(rest) if !rest.contains('*') => {
            behind_label().is_some_and(|behind| behind.eq_ignore_ascii_case(rest))
        }
        Some(_) => false,
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_one_label() {
        for (pattern, host, fits) in [
            ("db.example", "db.example", true),
            ("DB.example", "db.Example", true),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*", "example", false),
            ("db.*", "db.example", false),
            ("*.*", "db.example", false),
            ("db.example\0.evil", "db.example", false),
        ] {
            assert_eq!(is_name_of(pattern, host), fits, "{pattern:?} {host}");
        }
    }
}
