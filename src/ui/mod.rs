//! The page: what is known as data, drawn as HTML.
//!
//! Every page is whole without its script; the script keeps it fresh and plays. Knows the data of `view`
//! and of the catalogue; knows nothing of HTTP, and asks for nothing. All that comes from outside is
//! escaped by the templates. Addresses are relative: the page works behind a path prefix.

pub(crate) mod assets;
mod chart;
pub(crate) mod text;

use askama::Template;

use self::chart::{Lane, Spark};
use crate::catalog::{Enrolment, Found, Refusal, Upload};
use crate::clock::Timestamp;
use crate::names::StreamId;
use crate::view::boxes::{Boxes, Node};
use crate::view::overview::Overview;
use crate::view::status::Status;
use crate::view::timeline::Timeline;

/// What every page has around it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// From the page to the server's root: `../` as often as it takes.
    pub(crate) root: String,
    /// Where in the bar on top the page belongs.
    pub(crate) section: &'static str,
    /// Who is looking.
    pub(crate) who: String,
    /// There is a login to end.
    pub(crate) logged_in: bool,
}

/// `/ui/streams`
#[derive(Template)]
#[template(path = "streams.html", config = "src/ui/askama.toml")]
pub(crate) struct StreamsPage {
    pub(crate) frame: Frame,
    pub(crate) search: String,
    pub(crate) rows: Vec<Overview>,
    /// Streams that the search has found.
    pub(crate) found: usize,
    /// Value of `before` for the next page.
    pub(crate) next: Option<i64>,
    pub(crate) first: bool,
}

/// A rule that uploads broke, with the paths whose newest upload breaks it.
pub(crate) struct Broken {
    /// Id of the rule, where it is known.
    pub(crate) rule: String,
    pub(crate) severity: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) reason: String,
    /// Where, with the byte of the body.
    pub(crate) places: Vec<(String, Option<u64>)>,
}

/// A run of a session.
pub(crate) struct SessionRow {
    pub(crate) id: u64,
    pub(crate) run: i64,
    pub(crate) state: &'static str,
    pub(crate) text: String,
    /// Name, state and number of segments.
    pub(crate) tracks: Vec<(String, &'static str, u64)>,
    pub(crate) opened: Timestamp,
    pub(crate) last_upload: Timestamp,
}

/// Something to play: its name, and what kind it is.
pub(crate) struct Source {
    /// `manifest`, `tracks` or `file`.
    pub(crate) kind: &'static str,
    /// The manifest's or file's path; of tracks, nothing.
    pub(crate) path: String,
    pub(crate) label: String,
}

/// `/ui/streams/{id}`
#[derive(Template)]
#[template(path = "stream.html", config = "src/ui/askama.toml")]
pub(crate) struct StreamPage {
    pub(crate) frame: Frame,
    pub(crate) stream: Overview,
    /// Publishing endpoint, as far as the request tells it.
    pub(crate) endpoint: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) timeline: Timeline,
    pub(crate) broken: Vec<Broken>,
    pub(crate) uploads: Vec<Upload>,
    /// Value of `before` for older uploads.
    pub(crate) next: Option<i64>,
    pub(crate) newest: bool,
}

/// `/ui/streams/{id}/{path}`
#[derive(Template)]
#[template(path = "object.html", config = "src/ui/askama.toml")]
pub(crate) struct ObjectPage {
    pub(crate) frame: Frame,
    pub(crate) stream: Overview,
    pub(crate) path: String,
    /// Bytes; `None` when nothing is there.
    pub(crate) size: Option<u64>,
    pub(crate) text: Option<String>,
    /// Rows of the probe's table, and the whole of it as JSON.
    pub(crate) probe: Vec<Section>,
    pub(crate) probe_json: String,
    pub(crate) no_probe: Option<String>,
    pub(crate) boxes: Option<Boxes>,
    pub(crate) from: u64,
    /// Byte whose box is shown in full, and its first bytes.
    pub(crate) at: Option<u64>,
    pub(crate) hex: Vec<text::HexLine>,
    pub(crate) uploads: Vec<Upload>,
}

/// A table of names and values.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) rows: Vec<(String, String)>,
}

/// One hierarchy.
pub(crate) struct AuthorityView {
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) certs: Vec<CertView>,
    /// Its root is for everybody.
    pub(crate) download: bool,
}

/// A certificate of this server.
pub(crate) struct CertView {
    pub(crate) subject: String,
    pub(crate) until: String,
    pub(crate) days_left: i64,
    pub(crate) key: String,
    pub(crate) names: String,
    pub(crate) fingerprint: String,
}

/// A device, with its newest certificate.
pub(crate) struct DeviceRow {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// There is something to revoke.
    pub(crate) is_good: bool,
    pub(crate) fingerprint: String,
    pub(crate) until: String,
    pub(crate) seen: Option<Timestamp>,
    pub(crate) from: String,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) uploads: i64,
    pub(crate) errors: i64,
}

/// `/ui/certificates`
#[derive(Template)]
#[template(path = "certificates.html", config = "src/ui/askama.toml")]
pub(crate) struct CertificatesPage {
    pub(crate) frame: Frame,
    /// Where the server is reached, as far as the request tells it.
    pub(crate) endpoint: String,
    pub(crate) authorities: Vec<AuthorityView>,
    pub(crate) devices: Vec<DeviceRow>,
    /// Value of `after` for more of them.
    pub(crate) next: Option<String>,
    /// Those that are open.
    pub(crate) enrolments: Vec<Enrolment>,
    pub(crate) refusals: Vec<Refusal>,
}

/// `/ui/status`
#[derive(Template)]
#[template(path = "status.html", config = "src/ui/askama.toml")]
pub(crate) struct StatusPage {
    pub(crate) frame: Frame,
    pub(crate) status: Status,
}

/// `/ui/login`
#[derive(Template)]
#[template(path = "login.html", config = "src/ui/askama.toml")]
pub(crate) struct LoginPage {
    pub(crate) frame: Frame,
    /// Where to go then, from the server's root.
    pub(crate) then: String,
    pub(crate) wrong: Option<String>,
}

/// What is said instead of a page.
#[derive(Template)]
#[template(path = "error.html", config = "src/ui/askama.toml")]
pub(crate) struct ErrorPage {
    pub(crate) frame: Frame,
    pub(crate) status: u16,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
}

#[derive(Template)]
#[template(path = "node.html", config = "src/ui/askama.toml")]
struct NodeView<'n> {
    node: &'n Node,
    /// What was found at its first byte, or among its fields.
    marks: &'n [Found],
    at: Option<u64>,
    here: &'n str,
}

impl ObjectPage {
    /// A box with those inside it.
    fn node<'n>(&'n self, node: &'n Node) -> NodeView<'n> {
        NodeView {
            node,
            marks: self.marks(),
            at: self.at,
            here: "",
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The findings of the upload that made the whole of it: their bytes are the object's.
    fn marks(&self) -> &[Found] {
        let whole = self
            .holder()
            .filter(|upload| u64::try_from(upload.size).ok() == self.size);
        whole.map_or(&[], |upload| upload.findings.as_slice())
    }

    /// Whose upload made what is there.
    fn holder(&self) -> Option<&Upload> {
        self.uploads
            .iter()
            .find(|upload| upload.status.as_str() == "accepted")
    }
}

/// Whether a finding is about a byte of the box.
fn covers(node: &Node, found: &Found) -> bool {
    let end = node.offset.saturating_add(node.size);
    found.offset.is_some_and(|at| at >= node.offset && at < end)
}

impl<'n> NodeView<'n> {
    fn child(&self, node: &'n Node) -> NodeView<'n> {
        NodeView {
            node,
            marks: self.marks,
            at: self.at,
            here: self.here,
        }
    }

    /// What is wrong with this box itself, not with one inside it.
    fn found(&self) -> Vec<&'n Found> {
        let deeper = |found: &Found| self.node.boxes.iter().any(|inner| covers(inner, found));
        let marks = self.marks.iter();
        marks
            .filter(|found| covers(self.node, found) && !deeper(found))
            .collect()
    }

    fn has_marks(&self) -> bool {
        self.marks.iter().any(|found| covers(self.node, found))
    }

    fn is_at(&self) -> bool {
        self.at == Some(self.node.offset)
    }

    fn is_open(&self) -> bool {
        fn holds(node: &Node, at: u64) -> bool {
            node.offset == at || node.boxes.iter().any(|inner| holds(inner, at))
        }
        self.node.error.is_some()
            || self.has_marks()
            || self.at.is_some_and(|at| holds(self.node, at))
    }
}

impl StreamPage {
    fn lanes(&self) -> Vec<Lane> {
        chart::lanes(&self.timeline)
    }
}

impl StatusPage {
    /// Bytes in use from which on uploads are refused.
    fn disk_full(&self) -> u64 {
        let disk = self.status.disk.as_ref();
        disk.map_or(0, |disk| disk.size.saturating_sub(disk.kept_free))
    }

    fn disk_used(&self) -> u64 {
        let disk = self.status.disk.as_ref();
        disk.map_or(0, |disk| disk.size.saturating_sub(disk.free))
    }
}

impl Overview {
    /// What people call it.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("Stream {}", self.id),
        }
    }

    fn spark(&self) -> Spark {
        Spark::of(&self.activity)
    }
}
