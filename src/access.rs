//! Who may do what: one question, [`may`], and its table.
//!
//! `docs/identity.md` shows the same table to users.

use crate::catalog::{Catalog, Stream};
use crate::config::Access;
use crate::{Error, Kind, Result};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A peer with a certificate of the device hierarchy, by the name it was issued under.
    Device(String),
    /// The bearer of the admin token.
    Admin,
    /// Somebody on this machine.
    Loopback,
    /// Anybody else.
    Anyone,
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
    /// Delete the whole stream.
    DeleteStream,
    /// See certificates.
    ReadCertificates,
    /// Have certificates made.
    IssueCertificates,
    /// See a private key, the one time it can be seen.
    TakeKey,
    /// See how the server is doing.
    ReadMetrics,
}

/// Whether the principal may do that, with that stream where it concerns one.
///
/// # Errors
/// [`Kind::Unidentified`] where the admin token would help, [`Kind::Forbidden`] where it is the wrong
/// peer, or where a client certificate is missing.
pub(crate) async fn may(
    catalog: &Catalog,
    mode: Access,
    principal: &Principal,
    action: Action,
    stream: Option<&Stream>,
) -> Result<()> {
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
    granted(decide(mode, principal, action, relation))
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
        _ => granted(decide(mode, principal, action, Relation::Stranger)).map(drop),
    }
}

fn granted(decision: Decision) -> Result<()> {
    match decision {
        Decision::Yes => Ok(()),
        Decision::NeedsToken => Err(Error::new(
            Kind::Unidentified,
            "this needs the admin token: send \"Authorization: Bearer …\" with the text of admin.token",
        )),
        Decision::NeedsCertificate => Err(Error::new(
            Kind::Forbidden,
            "this needs a client certificate that this server has issued",
        )),
        Decision::No => Err(Error::new(
            Kind::Forbidden,
            "this client certificate does not allow that here",
        )),
    }
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
        Change, DeleteObject, DeleteStream, IssueCertificates, ListStreams, OpenStream, Read,
        Upload,
    };
    match (principal, mode) {
        (Principal::Admin, _) => Decision::Yes,
        (Principal::Device(_), _) => match (action, relation) {
            (OpenStream | ListStreams, _) => Decision::Yes,
            (Upload | DeleteObject | Read | Change | DeleteStream, Relation::Owner) => {
                Decision::Yes
            }
            (Upload | Read, Relation::Guest) => Decision::Yes,
            (_, Relation::Foreign) => Decision::No,
            // Where everybody may, a device may too.
            (_, _) if mode == Access::Open && action != Action::TakeKey => Decision::Yes,
            _ => Decision::No,
        },
        (Principal::Loopback, Access::Local | Access::Open) => Decision::Yes,
        (Principal::Anyone, Access::Open) if action != Action::TakeKey => Decision::Yes,
        (Principal::Loopback | Principal::Anyone, _) => match action {
            Upload | DeleteObject => Decision::NeedsCertificate,
            OpenStream
            | ListStreams
            | Read
            | Change
            | Action::ChangeRules
            | DeleteStream
            | IssueCertificates => Decision::NeedsToken,
            Action::ReadCertificates | Action::TakeKey | Action::ReadMetrics => {
                Decision::NeedsToken
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{Closed, Local, Open};
    use Decision::{NeedsCertificate, NeedsToken, No, Yes};

    #[test]
    fn the_admin_may_do_everything() {
        for mode in [Local, Open, Closed] {
            for action in [Action::Upload, Action::TakeKey, Action::DeleteStream] {
                assert_eq!(
                    decide(mode, &Principal::Admin, action, Relation::Stranger),
                    Yes
                );
            }
        }
    }

    #[test]
    fn others_by_mode() {
        for (principal, mode, action, expected) in [
            (Principal::Loopback, Local, Action::Upload, Yes),
            (Principal::Loopback, Local, Action::TakeKey, Yes),
            (Principal::Loopback, Closed, Action::Read, NeedsToken),
            (
                Principal::Loopback,
                Closed,
                Action::Upload,
                NeedsCertificate,
            ),
            (Principal::Anyone, Local, Action::ListStreams, NeedsToken),
            (Principal::Anyone, Local, Action::Upload, NeedsCertificate),
            (
                Principal::Anyone,
                Local,
                Action::DeleteObject,
                NeedsCertificate,
            ),
            (
                Principal::Anyone,
                Closed,
                Action::IssueCertificates,
                NeedsToken,
            ),
            (Principal::Anyone, Closed, Action::ReadMetrics, NeedsToken),
            (Principal::Anyone, Open, Action::DeleteStream, Yes),
            (Principal::Anyone, Open, Action::TakeKey, NeedsToken),
            (Principal::Loopback, Open, Action::TakeKey, Yes),
        ] {
            let decision = decide(mode, &principal, action, Relation::Stranger);
            assert_eq!(decision, expected, "{principal:?} {mode:?} {action:?}");
        }
    }

    #[test]
    fn devices_by_their_relation_to_the_stream() {
        let device = Principal::Device("cam-1".to_owned());
        for (action, relation, in_local, in_open) in [
            (Action::OpenStream, Relation::Stranger, Yes, Yes),
            (Action::ListStreams, Relation::Stranger, Yes, Yes),
            (Action::Upload, Relation::Owner, Yes, Yes),
            (Action::DeleteStream, Relation::Owner, Yes, Yes),
            (Action::Change, Relation::Owner, Yes, Yes),
            (Action::Upload, Relation::Foreign, No, No),
            (Action::Read, Relation::Foreign, No, No),
            (Action::Upload, Relation::Guest, Yes, Yes),
            (Action::Read, Relation::Guest, Yes, Yes),
            (Action::DeleteObject, Relation::Owner, Yes, Yes),
            (Action::DeleteObject, Relation::Guest, No, Yes),
            (Action::DeleteObject, Relation::Foreign, No, No),
            (Action::Read, Relation::Stranger, No, Yes),
            (Action::Change, Relation::Guest, No, Yes),
            (Action::ChangeRules, Relation::Owner, No, Yes),
            (Action::IssueCertificates, Relation::Stranger, No, Yes),
            (Action::TakeKey, Relation::Stranger, No, No),
        ] {
            for mode in [Local, Closed] {
                assert_eq!(
                    decide(mode, &device, action, relation),
                    in_local,
                    "{action:?} {relation:?}"
                );
            }
            assert_eq!(
                decide(Open, &device, action, relation),
                in_open,
                "{action:?} {relation:?}"
            );
        }
    }
}
