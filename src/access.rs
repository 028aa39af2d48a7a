//! Who may do what: one question, [`may`], and its table.
//!
//! `docs/identity.md` shows the same table to users.

use std::net::IpAddr;

use crate::catalog::{By, Catalog, Stream};
use crate::config::Access;
use crate::{Error, Kind, Result};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A peer with a certificate of the device hierarchy, by the name it was issued under.
    Device(String),
    /// The bearer of an admin's token, by the token's name; that of `admin.token` has none.
    Admin(Option<String>),
    /// The bearer of a token that only reads, by the token's name.
    Viewer(String),
    /// The bearer of leave to have one certificate signed under this name.
    Enrolee(String),
    /// Somebody on this machine.
    Loopback,
    /// Anybody else.
    Anyone,
}

impl Principal {
    /// Who it is, for records and log lines.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Device(name) => format!("device {name}"),
            Self::Admin(Some(token)) => format!("admin {token}"),
            Self::Admin(None) => "admin".to_owned(),
            Self::Viewer(token) => format!("viewer {token}"),
            Self::Enrolee(name) => format!("enrolee {name}"),
            Self::Loopback => "loopback".to_owned(),
            Self::Anyone => "anyone".to_owned(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open a stream.
    OpenStream,
    /// See which streams there are. A device sees its own.
    ListStreams,
    /// Store objects, and remove what one has stored.
    Upload,
    /// Remove an object that somebody else has stored.
    DeleteObject,
    /// Read objects, records and settings.
    Read,
    /// Change settings.
    Change,
    /// Change what uploads are judged by.
    ChangeRules,
    /// Say which device a stream belongs to.
    BindStream,
    /// Delete the whole stream.
    DeleteStream,
    /// See certificates.
    ReadCertificates,
    /// Have certificates made for any name, now or by an enrolment.
    IssueCertificates,
    /// Have a certificate signed under the name that one has already, or was given leave for.
    SignOwn,
    /// Make certificates invalid before their end.
    Revoke,
    /// See a private key, the one time it can be seen.
    TakeKey,
    /// See devices, enrolments, tokens (never their text) and who changed what.
    ReadIdentity,
    /// Make and withdraw tokens.
    ManageTokens,
    /// Put a new root in the place of one.
    RotateRoot,
    /// See how the server is doing.
    ReadMetrics,
    /// See who was turned away, and why.
    ReadRefusals,
}

/// That somebody may do what they asked for, and who it is. Only [`may`] makes one, and what changes
/// identities asks for it: a change that nobody was asked about does not compile.
#[derive(Clone, Debug)]
pub(crate) struct Granted(By);

impl Granted {
    /// Who was granted it.
    pub(crate) fn by(&self) -> &By {
        &self.0
    }
}

/// Whether the principal, who asks from this address, may do that, with that stream where it concerns
/// one.
///
/// # Errors
/// [`Kind::Unidentified`] where the admin token would help, [`Kind::Forbidden`] where it is the wrong
/// peer, or where a client certificate is missing.
pub(crate) async fn may(
    catalog: &Catalog,
    mode: Access,
    principal: &Principal,
    from: IpAddr,
    action: Action,
    stream: Option<&Stream>,
) -> Result<Granted> {
    let relation = match (principal, stream) {
        (Principal::Device(name), Some(stream)) => match stream.owner.as_deref() {
            Some(owner) if owner == name => Relation::Owner,
            Some(_) => Relation::Foreign,
            None if action == Action::Read => {
                let (id, name) = (stream.id, name.clone());
                match catalog
                    .look_up(move |tables| tables.has_uploaded(id, &name))
                    .await?
                {
                    true => Relation::Guest,
                    false => Relation::Stranger,
                }
            }
            None => Relation::Guest,
        },
        _ => Relation::Stranger,
    };
    answer(decide(mode, principal, action, relation), principal)?;
    Ok(Granted(By {
        who: principal.describe(),
        from: from.to_string(),
    }))
}

/// What is to be answered for a stream that is not there, before that is said: the refusal that the
/// principal would get in every stream. Devices may have a stream of their own, so they are not refused.
///
/// # Errors
/// As [`may`].
pub(crate) fn may_in_some_stream(
    mode: Access,
    principal: &Principal,
    action: Action,
) -> Result<()> {
    match principal {
        Principal::Device(_) => Ok(()),
        _ => answer(
            decide(mode, principal, action, Relation::Stranger),
            principal,
        ),
    }
}

fn answer(decision: Decision, principal: &Principal) -> Result<()> {
    let (kind, message) = match (decision, principal) {
        (Decision::Yes, _) => return Ok(()),
        (Decision::NeedsToken, _) => (
            Kind::Unidentified,
            "this needs the admin token: send \"Authorization: Bearer …\" with the text of admin.token",
        ),
        (Decision::NeedsCertificate, _) => (
            Kind::Forbidden,
            "this needs a client certificate that this server has issued",
        ),
        (Decision::No, Principal::Viewer(_)) => (
            Kind::Forbidden,
            "a viewer's token only reads: this needs an admin's token",
        ),
        (Decision::No, Principal::Enrolee(_)) => (
            Kind::Forbidden,
            "an enrolment token is good for POST /certs/{name}/sign of its own name, and for nothing else",
        ),
        (Decision::No, _) => (
            Kind::Forbidden,
            "this client certificate does not allow that here",
        ),
    };
    Err(Error::new(kind, message))
}

/// How a device stands to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The stream is its own.
    Owner,
    /// The stream is nobody's, and the device may upload there (for reading: has stored something).
    Guest,
    /// The stream is another device's.
    Foreign,
    /// None of these.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Yes,
    NeedsToken,
    NeedsCertificate,
    No,
}

fn decide(mode: Access, principal: &Principal, action: Action, relation: Relation) -> Decision {
    use Action::{
        Change, DeleteObject, DeleteStream, ListStreams, ManageTokens, OpenStream, Read,
        ReadCertificates, ReadIdentity, ReadMetrics, ReadRefusals, RotateRoot, SignOwn, TakeKey,
        Upload,
    };
    // What not even `open` gives to everybody: who has one of these has everything for good.
    let kept = matches!(action, TakeKey | ManageTokens | RotateRoot);
    match (principal, mode) {
        (Principal::Admin(_), _) => Decision::Yes,
        (Principal::Viewer(_), _) => match action {
            ListStreams | Read | ReadCertificates | ReadIdentity | ReadMetrics | ReadRefusals => {
                Decision::Yes
            }
            _ => Decision::No,
        },
        (Principal::Enrolee(_), _) => match action {
            SignOwn => Decision::Yes,
            _ => Decision::No,
        },
        (Principal::Device(_), _) => match (action, relation) {
            (OpenStream | ListStreams | SignOwn, _) => Decision::Yes,
            (Upload | DeleteObject | Read | Change | DeleteStream, Relation::Owner) => {
                Decision::Yes
            }
            (Upload | Read, Relation::Guest) => Decision::Yes,
            (_, Relation::Foreign) => Decision::No,
            // Where everybody may, a device may too.
            (_, _) if mode == Access::Open && !kept => Decision::Yes,
            _ => Decision::No,
        },
        (Principal::Loopback, Access::Local | Access::Open) => Decision::Yes,
        (Principal::Anyone, Access::Open) if !kept => Decision::Yes,
        (Principal::Loopback | Principal::Anyone, _) => match action {
            Upload | DeleteObject => Decision::NeedsCertificate,
            _ => Decision::NeedsToken,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{Closed, Local, Open};

    /// Every answer there is. `y` yes, `-` no, `t` a token is missing, `c` a certificate is missing.
    ///
    /// The columns of a device are its relation to the stream: owner, guest, foreign, stranger.
    const TABLE: &str = "
                      admin viewer enrolee | device        | device        | loopback          | anyone
                                           | local, closed | open          | local closed open | local closed open
                                           | o  g  f  s    | o  g  f  s    |                   |
    OpenStream        y     -      -       | y  y  y  y    | y  y  y  y    | y     t      y    | t     t      y
    ListStreams       y     y      -       | y  y  y  y    | y  y  y  y    | y     t      y    | t     t      y
    Upload            y     -      -       | y  y  -  -    | y  y  -  y    | y     c      y    | c     c      y
    DeleteObject      y     -      -       | y  -  -  -    | y  y  -  y    | y     c      y    | c     c      y
    Read              y     y      -       | y  y  -  -    | y  y  -  y    | y     t      y    | t     t      y
    Change            y     -      -       | y  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    ChangeRules       y     -      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    BindStream        y     -      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    DeleteStream      y     -      -       | y  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    ReadCertificates  y     y      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    IssueCertificates y     -      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    SignOwn           y     -      y       | y  y  y  y    | y  y  y  y    | y     t      y    | t     t      y
    Revoke            y     -      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    TakeKey           y     -      -       | -  -  -  -    | -  -  -  -    | y     t      y    | t     t      t
    ReadIdentity      y     y      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    ManageTokens      y     -      -       | -  -  -  -    | -  -  -  -    | y     t      y    | t     t      t
    RotateRoot        y     -      -       | -  -  -  -    | -  -  -  -    | y     t      y    | t     t      t
    ReadMetrics       y     y      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    ReadRefusals      y     y      -       | -  -  -  -    | y  y  -  y    | y     t      y    | t     t      y
    ";

    const ACTIONS: [Action; 19] = [
        Action::OpenStream,
        Action::ListStreams,
        Action::Upload,
        Action::DeleteObject,
        Action::Read,
        Action::Change,
        Action::ChangeRules,
        Action::BindStream,
        Action::DeleteStream,
        Action::ReadCertificates,
        Action::IssueCertificates,
        Action::SignOwn,
        Action::Revoke,
        Action::TakeKey,
        Action::ReadIdentity,
        Action::ManageTokens,
        Action::RotateRoot,
        Action::ReadMetrics,
        Action::ReadRefusals,
    ];

    /// The answers of one row, in the order of the columns; where a column stands for several modes or
    /// relations, they must agree.
    fn row(action: Action) -> String {
        let device = Principal::Device("cam-1".to_owned());
        let relations = [
            Relation::Owner,
            Relation::Guest,
            Relation::Foreign,
            Relation::Stranger,
        ];
        let same = |principal: &Principal, modes: &[Access], relations: &[Relation]| {
            let mut answers = modes.iter().flat_map(|mode| {
                relations
                    .iter()
                    .map(|relation| decide(*mode, principal, action, *relation))
            });
            let first = answers.next().unwrap();
            assert!(
                answers.all(|answer| answer == first),
                "{principal:?} {action:?}"
            );
            match first {
                Decision::Yes => 'y',
                Decision::No => '-',
                Decision::NeedsToken => 't',
                Decision::NeedsCertificate => 'c',
            }
        };
        let all = [Local, Closed, Open];
        let mut columns = vec![
            same(&Principal::Admin(None), &all, &relations),
            same(&Principal::Viewer("v".to_owned()), &all, &relations),
            same(&Principal::Enrolee("cam-1".to_owned()), &all, &relations),
        ];
        for modes in [&[Local, Closed][..], &[Open]] {
            columns.extend(relations.map(|relation| same(&device, modes, &[relation])));
        }
        for principal in [Principal::Loopback, Principal::Anyone] {
            columns.extend(all.map(|mode| same(&principal, &[mode], &relations)));
        }
        columns.into_iter().collect()
    }

    #[test]
    fn every_answer_is_the_one_in_the_table() {
        let rows: Vec<(&str, String)> = TABLE
            .lines()
            .filter_map(|line| {
                let (action, answers) = line.trim_start().split_once(' ')?;
                action
                    .starts_with(|c: char| c.is_ascii_uppercase())
                    .then(|| {
                        let marks = |c: &char| "y-tc".contains(*c);
                        (action, answers.chars().filter(marks).collect())
                    })
            })
            .collect();
        assert_eq!(rows.len(), ACTIONS.len());
        for (action, (name, expected)) in ACTIONS.into_iter().zip(rows) {
            assert_eq!(format!("{action:?}"), name);
            assert_eq!(row(action), expected, "{name}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        for (principal, action, kind, word) in [
            (Principal::Anyone, Action::Read, Kind::Unidentified, "token"),
            (
                Principal::Anyone,
                Action::Upload,
                Kind::Forbidden,
                "certificate",
            ),
            (
                Principal::Viewer("v".to_owned()),
                Action::Upload,
                Kind::Forbidden,
                "viewer",
            ),
            (
                Principal::Enrolee("cam-1".to_owned()),
                Action::Read,
                Kind::Forbidden,
                "enrolment",
            ),
        ] {
            let refused = may_in_some_stream(Closed, &principal, action).unwrap_err();
            assert_eq!(refused.kind(), kind);
            assert!(refused.message().contains(word), "{}", refused.message());
        }
    }
}
