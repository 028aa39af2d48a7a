//! New roots: how one takes the place of another while certificates of both are about.
//!
//! ```text
//! 1  certs/HIERARCHY-next.pem   the new root and its key, in one file
//! 2  catalogue                  the old root and until when it is trusted, the new one's record
//! 3  certs/HIERARCHY/root.*     replaced by the new one
//! 4                             the server trusts and shows what follows from it
//! 5  certs/HIERARCHY-next.pem   removed
//! ```
//!
//! A start that finds the file of step 1 goes on from step 3 if step 2 was done, and forgets it if not.
//! The old root's key is gone with step 3.
//!
//! A new server root changes what clients see only some time later: until then the server shows the
//! certificate it had (`certs/server-before.pem`), which who knows the old root alone accepts, and who
//! knows both. Then it shows one of the new root, and with it the new root's key signed by the old one.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::presented::moment;
use super::{Identity, issued_root, open_root, ours, timestamp};
use crate::access::Granted;
use crate::catalog::{Audit, Catalog, OldRoot};
use crate::clock::Timestamp;
use crate::pki::{self, Authority};
use crate::workdir::{self, Hierarchy, Workdir};
use crate::{Error, Kind, Result};

/// The most old roots of a hierarchy that are trusted at a time: each makes handshakes longer.
const MAX_OLD: usize = 4;
/// The longest time for which an old root may stay trusted.
const MAX_OVERLAP: Duration = Duration::from_secs(3650 * 86_400);

/// What a rotation came to.
#[derive(Debug, Serialize)]
pub(crate) struct Rotation {
    hierarchy: &'static str,
    /// The new root, PEM.
    root: String,
    fingerprint: String,
    old_fingerprint: String,
    old_trusted_until: Timestamp,
    /// When the server begins to show a certificate of its new root.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_from: Option<Timestamp>,
}

impl Identity {
    /// Gives the hierarchy a new root; the old one stays trusted for `overlap`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for too long an overlap, [`Kind::Conflict`] where too many old roots are trusted
    /// still, or where the server's certificate is made elsewhere.
    pub(crate) async fn rotate(
        &self,
        granted: Granted,
        hierarchy: Hierarchy,
        overlap: Duration,
        switch_after: Option<Duration>,
    ) -> Result<Rotation> {
        if overlap > MAX_OVERLAP {
            return Err(Error::new(Kind::Invalid, "\"overlap\" is at most 3650d"));
        }
        if switch_after.is_some_and(|after| after > overlap || hierarchy == Hierarchy::Device) {
            return Err(Error::new(
                Kind::Invalid,
                "\"switch_after\" is for the server's root, and at most as long as \"overlap\"",
            ));
        }
        if hierarchy == Hierarchy::Server && self.0.own.is_some() {
            return Err(Error::new(
                Kind::Conflict,
                "the server shows a certificate made elsewhere (--server-cert): its root is changed there",
            ));
        }
        let _issuing = self.0.issuing.lock().await;
        let trusted = self.old_roots(hierarchy).len();
        if trusted >= MAX_OLD {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "{trusted} old {} roots are trusted still: wait until the first one is not",
                    hierarchy.as_str()
                ),
            ));
        }
        if hierarchy == Hierarchy::Server && self.old_leaf_until().is_some() {
            return Err(Error::new(
                Kind::Conflict,
                "the server shows a certificate of its old root still: wait until it has changed over",
            ));
        }
        let old = self.authority(hierarchy);
        let now = OffsetDateTime::now_utc();
        // What leads to a root that was replaced before leads by this one: it cannot be let go sooner.
        let before = match hierarchy {
            Hierarchy::Server => self.old_roots(hierarchy),
            Hierarchy::Device => Vec::new(),
        };
        let until = before
            .into_iter()
            .filter_map(|old| moment(old.until))
            .fold(now + overlap, std::cmp::max);
        let (new, between) = match hierarchy {
            // Clients that know the old root alone accept the new one's certificates by this one.
            Hierarchy::Server => {
                let new = old.successor(now).map_err(ours)?;
                let between = old.vouch_for(&new, now, until).map_err(ours)?;
                (new, Some(between))
            }
            // Only this server checks against these, and it can be told of both.
            Hierarchy::Device => (
                Authority::generate(hierarchy.as_str(), now).map_err(ours)?,
                None,
            ),
        };
        let list = match hierarchy {
            Hierarchy::Server => None,
            Hierarchy::Device => Some(self.last_list(&old, now, until).await?),
        };
        let row = OldRoot {
            fingerprint: fingerprint(&old)?,
            hierarchy: hierarchy.as_str().to_owned(),
            pem: old.cert_pem().to_owned(),
            between,
            until: timestamp(until),
            switch: (hierarchy == Hierarchy::Server)
                .then(|| timestamp(now + switch_after.unwrap_or(overlap / 2))),
            list,
        };
        let issued = issued_root(&new, hierarchy)?;
        let rotation = Rotation {
            hierarchy: hierarchy.as_str(),
            root: new.cert_pem().to_owned(),
            fingerprint: issued.fingerprint.clone(),
            old_fingerprint: row.fingerprint.clone(),
            old_trusted_until: row.until,
            shown_from: row.switch,
        };
        let audit = Audit {
            by: granted.by().clone(),
            what: "root-rotated",
            subject: hierarchy.as_str().to_owned(),
            before: serde_json::json!({"root": row.fingerprint}),
            after: serde_json::json!({"root": issued.fingerprint, "old_trusted_until": row.until}),
        };
        if hierarchy == Hierarchy::Server {
            self.keep_leaf()?;
        }
        let next = self.0.workdir.next_root_file(hierarchy);
        workdir::write_small(&next, &format!("{}{}", new.key_pem(), new.cert_pem()))?;
        let catalog = &self.0.catalog;
        catalog
            .write(move |tables| {
                tables.add_old_root(&row)?;
                tables.add_issued(&issued)?;
                tables.add_audit(&audit)
            })
            .await?;
        put_in_place(&self.0.workdir, hierarchy, &new)?;
        self.take(hierarchy, new);
        self.load_old_roots().await?;
        self.write_server_roots()?;
        tracing::info!(
            "the {} root is a new one; the old one is trusted until {}",
            hierarchy.as_str(),
            until
        );
        if hierarchy == Hierarchy::Server {
            self.renew_leaf().await?;
        }
        self.show_change()?;
        workdir::remove(&next)?;
        Ok(rotation)
    }

    /// The old roots that are trusted now.
    pub(super) fn old_roots(&self, hierarchy: Hierarchy) -> Vec<OldRoot> {
        let now = Timestamp::now();
        let all = self.0.old.load();
        let of_it = all.iter().filter(|old| old.hierarchy == hierarchy.as_str());
        of_it.filter(|old| old.until > now).cloned().collect()
    }

    /// Reads from the catalogue which old roots there are.
    pub(super) async fn load_old_roots(&self) -> Result<()> {
        let old = self.0.catalog.read(|tables| tables.old_roots()).await?;
        self.0.old.store(std::sync::Arc::new(old));
        Ok(())
    }
}

/// Finishes a rotation that was cut short, or forgets it where it had not come far enough.
pub(super) async fn recover(
    workdir: &Workdir,
    catalog: &Catalog,
    hierarchy: Hierarchy,
) -> Result<Authority> {
    let next = workdir.next_root_file(hierarchy);
    let Some(text) = workdir::read_small(&next)? else {
        return open_root(workdir, catalog, hierarchy).await;
    };
    let new = Authority::load(&text, &text).map_err(|e| {
        Error::new(
            Kind::Invalid,
            format!(
                "cannot use {}: {e}; remove it to keep the root there is",
                next.display()
            ),
        )
    })?;
    let fingerprint = fingerprint(&new)?;
    let recorded = catalog
        .read(move |tables| tables.certificate(&fingerprint))
        .await?
        .is_some();
    // Who trusts this file while both roots are about finds both in it later on: see `refresh`.
    if recorded {
        tracing::info!("the {} root is replaced, as was begun", hierarchy.as_str());
        put_in_place(workdir, hierarchy, &new)?;
    }
    let root = open_root(workdir, catalog, hierarchy).await?;
    workdir::remove(&next)?;
    Ok(root)
}

fn put_in_place(workdir: &Workdir, hierarchy: Hierarchy, root: &Authority) -> Result<()> {
    workdir::write_small(&workdir.cert_file(hierarchy, "root.key"), root.key_pem())?;
    workdir::write_small(&workdir.cert_file(hierarchy, "root.pem"), root.cert_pem())
}

fn fingerprint(root: &Authority) -> Result<String> {
    let said = pki::describe_cert(root.cert_pem().as_bytes()).map_err(ours)?;
    Ok(said.fingerprint_sha256)
}
