//! A working directory that the Matter project's test server has written is taken over.
//!
//! Its roots and device certificates lie where ours do and are used as they are. What it remembered in
//! `streams/ID/stream.json`, and what lies beside that, goes into the catalogue here: once, at the first
//! start that finds a stream the catalogue does not know. Files are read and never changed. What cannot
//! be adopted stays where it is, and a line in the log names it.
//!
//! Knows the other server's file format, and nothing of how ours answers requests.

mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use self::stream::{Kept, Layout, Written};
use crate::catalog::Kept::Superseded;
use crate::catalog::{
    AdoptedStream, AdoptedUpload, Catalog, Issued, KeptLimits, NewObject, NewUpload, Outcome,
    RequestRecord, Status, Stream, VERSIONS,
};
use crate::clock::Timestamp;
use crate::finding::{Findings, Profile};
use crate::names::{ObjectPath, StreamId};
use crate::workdir::{self, Hierarchy, Workdir};
use crate::{Error, Kind, Result, ingest, matter, names, pki};

/// Note of an upload that another server has taken.
pub(crate) const NOTE: &str = "adopted";
/// Name of the file that describes a stream.
const DESCRIPTION: &str = "stream.json";
/// Largest description of a stream: some 250 bytes for each of its uploads.
const MAX_DESCRIPTION: u64 = 256 << 20;
/// Largest description of a client certificate.
const MAX_EVIDENCE: u64 = 64 << 10;
/// Greatest number that is taken for a stream's. Beyond, the next ones would soon not fit JSON's numbers.
const MAX_STREAM: StreamId = StreamId(1 << 40);
/// Files of one stream that are named in the log when they cannot be adopted.
const MAX_NAMED: usize = 100;

/// Adopts what is there and not known.
///
/// # Errors
/// When the directory cannot be listed or the catalogue not be written; never for what is in a file.
pub(crate) async fn adopt(workdir: &Workdir, catalog: &Catalog, limits: KeptLimits) -> Result<()> {
    adopt_certificates(workdir, catalog).await?;
    let known = catalog.look_up(|tables| tables.stream_numbers()).await?;
    let found = workdir.found_streams()?;
    let new: Vec<StreamId> = found.into_iter().filter(|id| !known.contains(id)).collect();
    if new.is_empty() {
        return Ok(());
    }
    // A stream that is opened later must not find another's files in its directory.
    if let Some(greatest) = new.iter().copied().filter(|id| *id <= MAX_STREAM).max() {
        catalog
            .write(move |tables| tables.reserve_stream_number(greatest))
            .await?;
    }
    let devices = Arc::new(catalog.look_up(|tables| tables.device_serials()).await?);
    for id in new {
        let (reading, devices) = (workdir.clone(), Arc::clone(&devices));
        let read = workdir::blocking(move || read_stream(&reading, id, &devices)).await;
        let adopted = match read {
            Ok(Some(read)) => record(workdir, catalog, read, limits).await.map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        match adopted {
            Ok(Some(uploads)) => tracing::info!(uploads, "Stream adopted: stream={id}"),
            Ok(None) => {}
            Err(e) => tracing::warn!(
                "stream {id} cannot be adopted, its files stay: {}",
                e.chain()
            ),
        }
    }
    Ok(())
}

/// A stream, and the files of those of its uploads that were replaced.
struct Found {
    stream: AdoptedStream,
    /// By their places among the uploads.
    replaced: Vec<(usize, ObjectPath)>,
}

/// Records what was read. What was replaced gets a second name, as ours are kept. Returns how many
/// uploads that are.
async fn record(
    workdir: &Workdir,
    catalog: &Catalog,
    read: Found,
    limits: KeptLimits,
) -> Result<usize> {
    let (id, number) = (read.stream.stream.id, read.stream.uploads.len());
    let keeping = workdir.clone();
    let paths = read
        .stream
        .uploads
        .iter()
        .map(|adopted| adopted.upload.path.as_str());
    let aside = to_keep(paths.collect(), read.replaced, limits);
    let gone = catalog
        .adopt_stream(read.stream, move |tables, uploads| {
            let mut gone = Vec::new();
            for (place, path, file) in aside {
                let Some(upload) = uploads.get(place).copied() else {
                    continue;
                };
                // One after the other: there may be more of them than files may be open.
                let kept = keeping.set_aside(id, &file).and_then(|found| {
                    found
                        .map(|mut found| {
                            let size = found.len();
                            keeping.keep_upload(&mut found, id, upload).map(|()| size)
                        })
                        .transpose()
                });
                match kept {
                    Ok(Some(size)) => {
                        gone.extend(tables.keep(id, &path, upload, Superseded, size, limits)?);
                    }
                    Ok(None) => {}
                    Err(e) => tracing::warn!("streams/{id}/{file}: {}", e.chain()),
                }
            }
            Ok(gone)
        })
        .await?;
    workdir.forget_kept(id, &gone);
    Ok(number)
}

/// Of the replaced uploads those that may be kept, by their numbers: the newest of each path, oldest first,
/// each with its path.
fn to_keep(
    paths: Vec<&str>,
    replaced: Vec<(usize, ObjectPath)>,
    limits: KeptLimits,
) -> Vec<(usize, String, ObjectPath)> {
    let mut versions: HashMap<&str, i64> = HashMap::new();
    let mut chosen = Vec::new();
    for (place, file) in replaced.into_iter().rev() {
        let Some(path) = paths.get(place).copied() else {
            continue;
        };
        let of_path = versions.entry(path).or_default();
        *of_path += 1;
        if *of_path <= VERSIONS {
            chosen.push((place, path.to_owned(), file));
        }
    }
    chosen.truncate(usize::try_from(limits.uploads).unwrap_or(0));
    chosen.reverse();
    chosen
}

/// The certificates of a server that had no catalogue: whom they name is known from now on.
async fn adopt_certificates(workdir: &Workdir, catalog: &Catalog) -> Result<()> {
    let files = workdir.cert_files(Hierarchy::Device)?;
    let leaves: Vec<String> = files
        .into_iter()
        .filter(|file| file.ends_with(".pem") && file != "root.pem")
        .collect();
    if leaves.is_empty() || catalog.look_up(|tables| tables.knows_devices()).await? {
        return Ok(());
    }
    let mut found = Vec::new();
    for file in leaves {
        let text = workdir::read_small(&workdir.cert_file(Hierarchy::Device, &file));
        match text.and_then(|text| device_certificate(&text.unwrap_or_default())) {
            Ok(certificate) => found.push(certificate),
            Err(e) => tracing::warn!("certs/device/{file} cannot be adopted: {}", e.chain()),
        }
    }
    let number = found.len();
    catalog
        .write(move |tables| {
            for certificate in &found {
                tables.add_issued(certificate)?;
            }
            Ok(())
        })
        .await?;
    tracing::info!("device certificates adopted: {number}");
    Ok(())
}

fn device_certificate(pem: &str) -> Result<Issued> {
    let unreadable = |e: pki::Error| Error::new(Kind::Invalid, e.to_string());
    let described = pki::describe_cert(pem.as_bytes()).map_err(unreadable)?;
    let name = described
        .common_name
        .ok_or_else(|| Error::new(Kind::Invalid, "it names nobody"))?;
    let ends = described.validity.not_after.unix_timestamp();
    Ok(Issued {
        fingerprint: described.fingerprint_sha256,
        name,
        serial: described.serial_number.trim_start_matches("0x").to_owned(),
        hierarchy: Hierarchy::Device.as_str(),
        by: NOTE.to_owned(),
        not_after: Timestamp::from_micros(ends.saturating_mul(1_000_000)),
        der: pki::cert_der(pem.as_bytes()).map_err(unreadable)?,
    })
}

/// All that is known of a stream; `None` where its directory has no description.
fn read_stream(
    workdir: &Workdir,
    id: StreamId,
    devices: &HashMap<String, String>,
) -> Result<Option<Found>> {
    let Some(text) = read_text(
        workdir,
        id,
        &ObjectPath::parse(DESCRIPTION)?,
        MAX_DESCRIPTION,
    )?
    else {
        return Ok(None);
    };
    let invalid = |why: String| Error::new(Kind::Invalid, format!("{DESCRIPTION}: {why}"));
    if id > MAX_STREAM {
        return Err(invalid(format!(
            "stream numbers above {MAX_STREAM} are not adopted"
        )));
    }
    let written: Written = serde_json::from_str(&text).map_err(|e| invalid(e.to_string()))?;
    if written.id != id.0 {
        return Err(invalid(format!("it describes stream {}", written.id)));
    }
    let track_name = written.track_name.as_deref().unwrap_or_default();
    let track_name = names::track_name(track_name).unwrap_or_else(|e| {
        tracing::warn!(
            "stream {id} is adopted without its track name: {}",
            e.message()
        );
        None
    });
    let layout = Layout::of(workdir.found_files(id)?);
    for (path, why) in layout.left.iter().take(MAX_NAMED) {
        tracing::warn!("streams/{id}/{path} cannot be adopted and stays: {why}");
    }
    if let Some(more) = layout.left.len().checked_sub(MAX_NAMED).filter(|n| *n > 0) {
        tracing::warn!("streams/{id}: {more} more files cannot be adopted and stay");
    }
    let bytes: u64 = layout.kept.iter().map(|kept| kept.size).sum();
    tracing::info!(
        bytes,
        "Stream is being adopted: stream={id}, files={}",
        layout.kept.len()
    );
    let created = layout
        .kept
        .first()
        .map_or_else(Timestamp::now, |kept| kept.at);
    let errors = written.errors();
    let sessions = written.sessions(&layout.kept);
    // The newest run of each session, which are in the order of their runs.
    let newest: HashMap<u64, i64> = sessions
        .iter()
        .map(|run| (run.number, run.session.run))
        .collect();
    let mut uploads = Vec::with_capacity(layout.kept.len());
    let mut replaced = Vec::new();
    for (place, kept) in layout.kept.into_iter().enumerate() {
        if kept.path != kept.file {
            replaced.push((place, kept.file.clone()));
        }
        let mut upload = read_upload(workdir, id, &kept, &errors, devices)?;
        let number = matter::Name::of(&kept.path).session();
        upload.session = number.and_then(|number| Some((number, *newest.get(&number)?)));
        uploads.push(upload);
    }
    let stream = AdoptedStream {
        stream: Stream {
            id,
            interface: written.interface,
            strict_mode: written.strict_mode,
            strict_media: false,
            track_name,
            owner: None,
            name: None,
            tags: Vec::new(),
            created,
        },
        uploads,
        sessions,
    };
    Ok(Some(Found { stream, replaced }))
}

fn read_upload(
    workdir: &Workdir,
    id: StreamId,
    kept: &Kept,
    errors: &HashMap<&str, Vec<String>>,
    devices: &HashMap<String, String>,
) -> Result<AdoptedUpload> {
    let (peer, device) = match &kept.evidence {
        None => (None, None),
        Some(evidence) => read_peer(workdir, id, evidence, devices)?,
    };
    let current = kept.path == kept.file;
    let object = if current {
        let index = match workdir.open_object(id, &kept.file) {
            Ok(Some(object)) => ingest::index(object),
            Ok(None) => Ok(ingest::Index::default()),
            Err(e) => Err(e),
        };
        let index = index.map_err(|e| Error::internal(format!("{}", kept.file), e))?;
        Some((
            NewObject {
                stream: id,
                path: kept.path.clone(),
                upload: 0, // known once the upload is recorded
                size: kept.size,
                whole: true,
                part: None,
                header_size: index.header_size,
                media_end: index.media_end,
                end_time: index.end_time,
            },
            index.fragments,
        ))
    } else {
        None
    };
    let reasons = errors.get(kept.path.as_str()).filter(|_| current);
    let upload = NewUpload {
        stream: id,
        path: kept.path.as_str().to_owned(),
        request: RequestRecord {
            method: "PUT".to_owned(),
            target: format!("/streams/{id}/{}", kept.path),
            headers: Vec::new(),
            framing: String::new(),
            http_version: String::new(),
            tls_version: String::new(),
            cipher: String::new(),
            connection: 0,
            remote: String::new(),
            peer,
            device,
        },
        extinf: None,
        first_byte: kept.at,
        outcome: Outcome {
            findings: Findings::default(),
            profile: Profile::Matter,
            status: if current {
                Status::Accepted
            } else {
                Status::Superseded
            },
            note: Some(NOTE),
            object: None,
            size: kept.size,
            http_status: None,
            errors: reasons.cloned().unwrap_or_default(),
            rules: Vec::new(),
            judged: None,
            last_byte: kept.at,
        },
    };
    Ok(AdoptedUpload {
        upload,
        object,
        session: None,
    })
}

/// Fingerprint and name of the certificate that an upload came with. The fingerprint is known only where
/// the certificate itself is.
fn read_peer(
    workdir: &Workdir,
    id: StreamId,
    evidence: &ObjectPath,
    devices: &HashMap<String, String>,
) -> Result<(Option<String>, Option<String>)> {
    let text = read_text(workdir, id, evidence, MAX_EVIDENCE)?.unwrap_or_default();
    match stream::peer(&text) {
        Some(peer) => Ok((devices.get(&peer.serial).cloned(), Some(peer.name))),
        None => {
            tracing::warn!(
                "streams/{id}/{evidence} cannot be adopted and stays: it names no device"
            );
            Ok((None, None))
        }
    }
}

/// What the other server has written down of the certificate that an object came with.
pub(crate) fn evidence(
    workdir: &Workdir,
    id: StreamId,
    object: &ObjectPath,
) -> Result<Option<serde_json::Value>> {
    let file = ObjectPath::parse(&format!("{object}{}", stream::EVIDENCE))?;
    let text = read_text(workdir, id, &file, MAX_EVIDENCE)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The text of a file below the stream's directory; `None` where there is none.
fn read_text(
    workdir: &Workdir,
    id: StreamId,
    path: &ObjectPath,
    most: u64,
) -> Result<Option<String>> {
    let Some(object) = workdir.open_object(id, path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = object.reader().take(most + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::internal(format!("cannot read {path}"), e))?;
    if bytes.len() as u64 > most {
        return Err(Error::new(
            Kind::Invalid,
            format!("{path} is larger than {most} bytes"),
        ));
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Error::new(Kind::Invalid, format!("{path} is not UTF-8")))
}
