//! What the server shows to clients and whom it believes: what follows from both hierarchies, their
//! replaced roots, and what was made elsewhere.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::own::Pair;
use super::{Identity, SERVER_NAME};
use crate::clock::Timestamp;
use crate::pki;
use crate::workdir::{self, Hierarchy};
use crate::{Error, Kind, Result};

/// How often the files of a certificate made elsewhere are looked at.
const RELOAD_CHECK: Duration = Duration::from_secs(2);
/// The longest time between two looks at the rest.
const LONGEST_CHECK: Duration = Duration::from_secs(12 * 3600);

/// Roots of devices that pavs does not issue from, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    /// Name of an authority made elsewhere, which goes before those of its devices.
    pub(crate) name: Option<String>,
    /// One or more, PEM.
    pub(crate) roots_pem: String,
    /// What may lie between these and the devices' certificates, PEM; may be empty.
    pub(crate) between_pem: String,
    /// Not trusted from then on.
    pub(crate) until: Option<OffsetDateTime>,
}

/// What a listener needs. All PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    /// The server's certificate and those above it.
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    /// The device root that pavs issues from.
    pub(crate) device_root_pem: String,
    /// Other roots that device certificates may lead to.
    pub(crate) others: Vec<Trusted>,
    /// The roots of the server's certificate.
    pub(crate) server_roots_pem: String,
}

type Show = Box<dyn Fn(&Presented) -> Result<()> + Send + Sync>;

/// Who shows it, and what was shown last.
#[derive(Default)]
pub(super) struct Shown {
    by: OnceLock<Show>,
    last: Mutex<Option<Presented>>,
    /// Told when there is something to look at before the next look.
    changed: Notify,
}

impl Identity {
    /// What is to be shown now.
    pub(crate) fn presented(&self) -> Result<Presented> {
        let pair = match &self.0.own {
            Some(own) => own.good(),
            None => self.issued_pair()?,
        };
        Ok(self.with_pair(pair))
    }

    /// Has `show` called with what is to be shown, whenever that changes from `first` on. A second caller
    /// is not heard.
    pub(crate) fn shown_by(
        &self,
        first: Presented,
        show: impl Fn(&Presented) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        self.announce(&first)?;
        *self.last() = Some(first);
        let _ = self.0.shown.by.set(Box::new(show));
        Ok(())
    }

    /// Commands on this machine know the server by what it shows.
    fn announce(&self, presented: &Presented) -> Result<()> {
        let leaf = pki::describe_cert(presented.chain_pem.as_bytes()).map_err(super::ours)?;
        self.0.workdir.announce_certificate(&leaf.public_cert)
    }

    /// Renews what ends, reads anew what has changed, drops what is over, and shows what follows. Gives
    /// the time until it is worth another look.
    pub(crate) async fn refresh(&self) -> Result<Duration> {
        // What is shown is decided and shown before anything else can change.
        let _issuing = self.0.issuing.lock().await;
        if let Some(own) = &self.0.own {
            own.reload(|pair| self.hand_over(&self.with_pair(pair.clone())));
        }
        self.renew_leaf().await?;
        self.tidy()?;
        self.show()?;
        Ok(self.next_look())
    }

    /// Waits for `time`, or until there is something to look at.
    pub(crate) async fn rest(&self, time: Duration) {
        // Either way it is time to look.
        let _ = tokio::time::timeout(time, self.0.shown.changed.notified()).await;
    }

    /// Shows what follows from how things are, if that is new.
    pub(super) fn show(&self) -> Result<()> {
        let presented = self.presented()?;
        if self.last().as_ref() == Some(&presented) {
            return Ok(());
        }
        self.hand_over(&presented)
    }

    /// The same, by a change that may call for another look soon.
    pub(super) fn show_change(&self) -> Result<()> {
        self.0.shown.changed.notify_one();
        self.show()
    }

    fn hand_over(&self, presented: &Presented) -> Result<()> {
        // Commands open a directory and listen to nobody.
        if let Some(show) = self.0.shown.by.get() {
            show(presented)?;
            self.announce(presented)?;
        }
        *self.last() = Some(presented.clone());
        Ok(())
    }

    fn next_look(&self) -> Duration {
        if self.0.own.is_some() {
            return RELOAD_CHECK;
        }
        let now = OffsetDateTime::now_utc();
        let ends = [Hierarchy::Server, Hierarchy::Device]
            .into_iter()
            .flat_map(|hierarchy| self.old_roots(hierarchy))
            .filter_map(|old| moment(old.until))
            .chain(self.old_leaf_until().and_then(moment))
            .map(|until| until - now + time::Duration::SECOND);
        // Half of the life of the server's certificate is there to renew it.
        ends.chain([self.0.server_lifetime / 8])
            .min()
            .and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or_default()
            .clamp(Duration::from_secs(1), LONGEST_CHECK)
    }

    /// The roots that clients have to trust, PEM, that of the certificate that is shown first.
    pub(crate) fn server_roots(&self) -> String {
        if let Some(own) = self.own_roots() {
            return own;
        }
        let mut roots: Vec<String> = vec![self.authority(Hierarchy::Server).cert_pem().to_owned()];
        roots.extend(
            self.old_roots(Hierarchy::Server)
                .into_iter()
                .map(|old| old.pem),
        );
        if self.old_leaf_until().is_some() && roots.len() > 1 {
            roots.swap(0, 1);
        }
        roots.concat()
    }

    /// Until when the server shows a certificate of its old root, if it does.
    pub(super) fn old_leaf_until(&self) -> Option<Timestamp> {
        let newest = self.old_roots(Hierarchy::Server).into_iter().next()?;
        newest.switch.filter(|switch| *switch > Timestamp::now())
    }

    /// Keeps the certificate that is shown now, to show it on beside a new root.
    pub(super) fn keep_leaf(&self) -> Result<()> {
        let Pair { chain, key } = self.issued_pair()?;
        let file = self.0.workdir.old_leaf_file();
        workdir::write_small(&file, &format!("{key}{}", without_roots(&chain)))
    }

    /// The file of the server's root has all roots that clients have to trust: scripts name it. The first
    /// one is what issues.
    pub(super) fn write_server_roots(&self) -> Result<()> {
        let mut text = self.authority(Hierarchy::Server).cert_pem().to_owned();
        for old in self.old_roots(Hierarchy::Server) {
            text.push_str(&old.pem);
        }
        let file = self.0.workdir.cert_file(Hierarchy::Server, "root.pem");
        if workdir::read_small(&file)?.as_deref() == Some(&text) {
            return Ok(());
        }
        workdir::write_small(&file, &text)
    }

    /// Removes what is over.
    fn tidy(&self) -> Result<()> {
        if self.old_leaf_until().is_none() {
            workdir::remove(&self.0.workdir.old_leaf_file())?;
        }
        let had_others = self
            .0
            .old
            .load()
            .iter()
            .any(|old| old.hierarchy == "server");
        if had_others {
            self.write_server_roots()?;
        }
        Ok(())
    }

    /// Roots that came with a certificate made elsewhere.
    fn own_roots(&self) -> Option<String> {
        let roots = self.0.own.as_ref()?.roots();
        (!roots.is_empty()).then_some(roots)
    }

    fn with_pair(&self, pair: Pair) -> Presented {
        // Those that are over are told too, so that who comes with them learns why it is refused.
        let old = self.0.old.load();
        let mut others: Vec<Trusted> = old
            .iter()
            .filter(|root| root.hierarchy == Hierarchy::Device.as_str())
            .map(|root| Trusted {
                name: None,
                roots_pem: root.pem.clone(),
                between_pem: String::new(),
                until: moment(root.until),
            })
            .collect();
        others.extend(self.0.foreign.iter().cloned());
        Presented {
            chain_pem: pair.chain,
            key_pem: pair.key,
            device_root_pem: self.authority(Hierarchy::Device).cert_pem().to_owned(),
            others,
            server_roots_pem: self.server_roots(),
        }
    }

    /// The certificate issued here, with what leads from it to the roots that were replaced.
    fn issued_pair(&self) -> Result<Pair> {
        if self.old_leaf_until().is_some()
            && let Some(text) = workdir::read_small(&self.0.workdir.old_leaf_file())?
            && let Ok(leaf) = pki::describe_cert(text.as_bytes())
            && leaf.validity.contains(OffsetDateTime::now_utc())
        {
            return Ok(Pair {
                chain: without_roots(&text),
                key: text,
            });
        }
        let read = |name: String| {
            let path = self.0.workdir.cert_file(Hierarchy::Server, &name);
            workdir::read_small(&path)?
                .ok_or_else(|| Error::new(Kind::Internal, format!("{} is missing", path.display())))
        };
        let mut chain = read(format!("{SERVER_NAME}.pem"))?;
        let old = self.old_roots(Hierarchy::Server);
        if !old.is_empty() {
            chain = without_roots(&chain);
        }
        for old in old {
            chain.push_str(old.between.as_deref().unwrap_or_default());
        }
        Ok(Pair {
            chain,
            key: read(format!("{SERVER_NAME}.key"))?,
        })
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Presented>> {
        self.0
            .shown
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chain without the certificates that sign themselves, but for the first: who trusts these has them,
/// and others are only led astray where a replaced root has the same name.
fn without_roots(chain: &str) -> String {
    let Ok(certs) = pki::describe_certs(chain) else {
        return chain.to_owned();
    };
    let kept = certs
        .iter()
        .enumerate()
        .filter(|(at, cert)| *at == 0 || !cert.is_self_signed)
        .map(|(_, cert)| cert.public_cert.as_str());
    kept.collect()
}

pub(super) fn moment(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_micros()) * 1000).ok()
}
