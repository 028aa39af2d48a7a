//! Authorities made elsewhere whose devices are taken too: the files of `--device-ca`.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::Trusted;
use crate::pki::{self, CertDescription, CertName};
use crate::workdir;
use crate::{Error, Kind, Result};

/// Reads the files. Their roots get names: the common name, or the file's where that is no name or
/// taken. Devices are known as `NAME/COMMON NAME`; a name that pavs issues has no slash.
///
/// # Errors
/// [`Kind::Invalid`], naming the file and what is wrong with it.
pub(super) fn load(files: &[PathBuf]) -> Result<Vec<Trusted>> {
    let mut found: Vec<Trusted> = Vec::new();
    let mut between = String::new();
    for file in files {
        let wrong = |why: &str| {
            Error::new(
                Kind::Invalid,
                format!("cannot use --device-ca {}: {why}", file.display()),
            )
        };
        let text = workdir::read_small(file)?.ok_or_else(|| wrong("there is no such file"))?;
        let certs = pki::describe_certs(&text).map_err(|e| wrong(&e.to_string()))?;
        if let Some(leaf) = certs.iter().find(|cert| !cert.is_ca) {
            return Err(wrong(&format!(
                "the certificate of {} is not that of an authority",
                leaf.subject
            )));
        }
        for cert in &certs {
            let now = OffsetDateTime::now_utc();
            if !cert.validity.contains(now) {
                tracing::warn!(
                    "{}: {} is valid from {} until {}, so its devices are refused now",
                    file.display(),
                    cert.subject,
                    cert.not_valid_before,
                    cert.not_valid_after
                );
            }
            if !is_top(cert, &certs) {
                between.push_str(&cert.public_cert);
                continue;
            }
            if found.iter().any(|held| held.roots_pem == cert.public_cert) {
                continue; // named twice
            }
            let is_free = |name: &String| {
                CertName::parse(name).is_ok()
                    && !found.iter().any(|held| held.name.as_ref() == Some(name))
            };
            let name = cert
                .common_name
                .clone()
                .into_iter()
                .chain(stem(file))
                .find(is_free)
                .ok_or_else(|| {
                    wrong("neither its common name nor the file's name can be the authority's: another has it, or it is no name; rename the file")
                })?;
            tracing::info!(
                "devices of {} are taken, as {name}/…: {}",
                cert.subject,
                file.display()
            );
            found.push(Trusted {
                name: Some(name),
                roots_pem: cert.public_cert.clone(),
                between_pem: String::new(),
                until: None,
            });
        }
    }
    for trusted in &mut found {
        trusted.between_pem.clone_from(&between);
    }
    Ok(found)
}

/// Whether nothing else of the file is above it.
fn is_top(cert: &CertDescription, all: &[CertDescription]) -> bool {
    cert.is_self_signed
        || !all
            .iter()
            .any(|other| other.subject == cert.issuer && other.public_cert != cert.public_cert)
}

fn stem(file: &Path) -> Option<String> {
    Some(file.file_stem()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Issuer {
        CertifiedIssuer::self_signed(params(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn loaded(files: &[(&str, String)]) -> Result<Vec<Trusted>> {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            paths.push(path);
        }
        load(&paths)
    }

    fn names(files: &[(&str, String)]) -> Vec<String> {
        let loaded = loaded(files).unwrap();
        loaded.into_iter().filter_map(|it| it.name).collect()
    }

    #[test]
    fn names_are_unique_and_have_no_slash() {
        let first = root("Plant").pem();
        assert_eq!(
            names(&[
                ("a.pem", first.clone()),
                ("b.pem", root("Plant").pem()),
                ("again.pem", first),
                ("c.pem", root("Plant/cam-1").pem()),
                ("d.pem", root("").pem()),
            ]),
            ["Plant", "b", "c", "d"]
        );
        let clash = [("a.pem", root("b").pem()), ("b.pem", root("b").pem())];
        let refused = loaded(&clash).unwrap_err();
        assert!(refused.message().contains("rename"), "{refused:?}");
    }

    #[test]
    fn what_is_below_a_root_is_no_root() {
        let top = root("Top");
        let key = KeyPair::generate().unwrap();
        let middle = params("Middle").signed_by(&key, &top).unwrap();
        let both = loaded(&[("a.pem", middle.pem() + &top.pem())]).unwrap();
        assert_eq!(both.len(), 1);
        assert_eq!(both[0].name.as_deref(), Some("Top"));
        assert!(both[0].between_pem.contains("BEGIN CERTIFICATE"));
        // Alone it is what is trusted.
        assert_eq!(names(&[("a.pem", middle.pem())]), ["Middle"]);
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let mut leaf = params("cam");
        leaf.is_ca = IsCa::ExplicitNoCa;
        let leaf = leaf.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for (text, word) in [
            (leaf.pem(), "authority"),
            (String::new(), "CERTIFICATE block"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "damaged",
            ),
        ] {
            let refused = loaded(&[("x.pem", text)]).unwrap_err();
            assert!(refused.message().contains(word), "{refused:?}");
        }
        assert!(load(&[PathBuf::from("/nowhere/x.pem")]).is_err());
    }
}
