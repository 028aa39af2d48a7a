//! The types of [`crate::finding`]. They name no table, so that what judges can be built by itself.

use serde::{Deserialize, Serialize, Serializer};

/// How much a broken rule matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Against the letter, but real producers do it and players cope.
    Warning,
    /// Against what the profile demands.
    Error,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// As it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What an upload is held against.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The letter of ISO/IEC 23000-19.
    Cmaf,
    /// DASH-IF Live Media Ingest, interfaces 1 and 2.
    DashIfIngest,
    /// Matter Push AV.
    Matter,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cmaf, Self::DashIfIngest, Self::Matter];

    /// As it is written on the command line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cmaf => "cmaf",
            Self::DashIfIngest => "dash-if-ingest",
            Self::Matter => "matter",
        }
    }
}

/// One thing that is looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name, such as `cmaf-tfdt-missing`: lower case, hyphens, never given to another rule.
    pub id: &'static str,
    /// What holds, in one sentence.
    pub sentence: &'static str,
    /// Where it is written, as far as that is known: `ISO/IEC 23000-19:2020 7.5.16`.
    pub clause: Option<&'static str>,
    /// What it looks at: a box path, or a part of the upload such as `path` or `manifest`.
    pub looks_at: &'static str,
    /// How much it matters in each profile, in the order of [`Profile::ALL`]; `None`: not at all.
    pub severities: [Option<Severity>; 3],
}

/// Makes a static of each line, for its module and the one around, and `RULES`, the table of all in the order of
/// writing.
macro_rules! rule_table {
    ($($name:ident: $id:literal, $looks_at:literal, $clause:expr, $severities:expr, $sentence:literal;)*) => {
        $(pub(super) static $name: $crate::finding::Rule = $crate::finding::Rule {
            id: $id,
            sentence: $sentence,
            clause: $clause,
            looks_at: $looks_at,
            severities: $severities,
        };)*

        /// Every rule of this module.
        pub static RULES: &[&$crate::finding::Rule] = &[$(&$name),*];
    };
}
pub(crate) use rule_table;

impl Rule {
    /// How much it matters in a profile; `None` where it is not looked at.
    #[must_use]
    pub fn severity(&self, profile: Profile) -> Option<Severity> {
        let [cmaf, dash_if_ingest, matter] = self.severities;
        match profile {
            Profile::Cmaf => cmaf,
            Profile::DashIfIngest => dash_if_ingest,
            Profile::Matter => matter,
        }
    }
}

/// What broke a rule: where it did first, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule, by its id where it is written.
    #[serde(serialize_with = "by_id")]
    pub rule: &'static Rule,
    /// What was found, and what was expected, in one sentence.
    pub message: String,
    /// Path of the box, such as `moof > traf > tfhd`.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub box_path: Option<String>,
    /// Byte of the upload's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How often the rule was broken; the rest tells of the first time.
    pub count: u64,
}

impl Finding {
    /// A rule that was broken once, at no place that could be told.
    #[must_use]
    pub fn new(rule: &'static Rule, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            box_path: None,
            offset: None,
            count: 1,
        }
    }

    /// The same, in the box at `path`, at byte `offset` of the body.
    #[must_use]
    pub fn at(mut self, path: &str, offset: u64) -> Self {
        self.box_path = (!path.is_empty()).then(|| path.to_owned());
        self.offset = Some(offset);
        self
    }

    /// How much it matters in a profile; `None` where its rule is not looked at.
    #[must_use]
    pub fn severity(&self, profile: Profile) -> Option<Severity> {
        self.rule.severity(profile)
    }
}

/// What was found in one body: each rule at most once, with how often it was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Most rules that are kept; what comes after them is not.
    pub const MOST: usize = 100;

    /// Adds a finding; of a rule that is here already only the number.
    pub fn add(&mut self, finding: Finding) {
        let count = finding.count;
        self.note(finding.rule, count, || finding);
    }

    /// Adds `count` times `rule`; `describe` is only asked the first time, so that a rule that every
    /// fragment of an endless body breaks costs no words.
    pub fn note(&mut self, rule: &'static Rule, count: u64, describe: impl FnOnce() -> Finding) {
        if let Some(held) = self.0.iter_mut().find(|held| held.rule.id == rule.id) {
            held.count = held.count.saturating_add(count);
        } else if self.0.len() < Self::MOST {
            self.0.push(describe());
        }
    }

    /// In the order in which they were first found.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Number of different rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The findings themselves.
    #[must_use]
    pub fn into_vec(self) -> Vec<Finding> {
        self.0
    }

    /// The greatest severity in a profile; `None` where nothing was found that it looks at.
    #[must_use]
    pub fn worst(&self, profile: Profile) -> Option<Severity> {
        self.0
            .iter()
            .filter_map(|found| found.severity(profile))
            .max()
    }

    /// Number of rules broken that matter so much in a profile.
    #[must_use]
    pub fn count(&self, profile: Profile, severity: Severity) -> u64 {
        let such = self
            .0
            .iter()
            .filter(|found| found.severity(profile) == Some(severity));
        u64::try_from(such.count()).unwrap_or(u64::MAX)
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn by_id<S: Serializer>(rule: &&'static Rule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.id)
}
