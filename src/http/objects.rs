//! Objects: `/streams/{id}/{path}`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use super::extract::{Caller, InObject, InStream};
use super::file;
use super::state::AppState;
use super::streams;
use crate::access::{Action, Principal};
use crate::catalog::{RequestRecord, Stream, Upload};
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::ingest::{Certificate, Incoming};
use crate::live::Growing;
use crate::names::{ObjectPath, StreamId};
use crate::tls::{Connection, Peer};
use crate::workdir::{self, ObjectFile};
use crate::{Error, Kind, Result, adopt, pki};

/// Ending under which an object's evidence is read.
const EVIDENCE: &str = ".crt";
/// Header field of HLS segments: their duration in seconds.
const EXTINF: &str = "x-extinf-duration";
/// Name under which a stream's description is read.
const DESCRIPTION: &str = "stream.json";
/// Bytes of header fields that a record keeps.
const MAX_RECORDED: usize = 16 * 1024;
/// How long an upload hangs that is not to be answered.
const HANG: Duration = Duration::from_secs(600);
/// Longest path text that a record keeps of an upload whose path is refused.
const MAX_REFUSED_PATH: usize = 256;

/// `PUT` and `POST /streams/{id}/{path}`
pub(super) async fn upload(
    State(state): State<AppState>,
    target: InObject,
    caller: Result<Caller>,
    request: Request,
) -> Result<Response> {
    let first_byte = Timestamp::now();
    let (parts, body) = request.into_parts();
    let connection = parts
        .extensions
        .get::<Connection>()
        .cloned()
        .ok_or_else(|| Error::new(Kind::Internal, "a request came without its connection"))?;
    let length = content_length(&parts.headers);
    let record = record(
        &parts.method,
        &parts.uri,
        parts.version,
        &parts.headers,
        &connection,
        length,
    );
    let certificate = certificate(&connection);
    let path = target.object_path();
    // A refused upload to a stream that is there is recorded; to any other there is nowhere to.
    let (caller, stream) = match target.stream {
        InStream(Ok(stream)) => (caller, stream),
        unknown => {
            let caller = caller?;
            let stream = caller.may_in(&state, Action::Upload, unknown).await?;
            (Ok(caller), stream)
        }
    };
    if target.path.is_empty() {
        return greet(&state, caller, &stream, body).await;
    }
    let incoming = |path: ObjectPath, injected| Incoming {
        stream: Arc::clone(&stream),
        path,
        length,
        request: record,
        certificate,
        first_byte,
        extinf: extinf(&parts.headers),
        injected,
    };
    let checked = check(
        &state,
        caller,
        &stream,
        path.as_ref(),
        &parts.headers,
        length,
    )
    .await;
    let path = match (path, checked) {
        (Ok(path), Ok(())) => path,
        (path, Err(e)) => {
            // Even a path that cannot be stored is worth a line in the history.
            let shown = path.or_else(|_| ObjectPath::parse(&printable(&target.path)));
            if let Ok(path) = shown {
                state.ingest.refuse(incoming(path, None), &e).await;
            }
            return Err(e);
        }
        (Err(e), Ok(())) => return Err(e),
    };
    let fault = state.faults.pick(parts.uri.path());
    if let Some(fault) = fault {
        tracing::warn!("{} for {}", fault.note(), parts.uri.path());
        let refused = match fault {
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                None
            }
            Fault::Status(kind) => Some(Error::new(kind, "this answer was asked for by --fault")),
            Fault::Reset | Fault::Hang => Some(Error::new(
                Kind::Internal,
                "the upload is not answered, as --fault asks for",
            )),
        };
        if let Some(error) = refused {
            let incoming = incoming(path, Some(fault.note()));
            state.ingest.refuse(incoming, &error).await;
            if fault == Fault::Hang {
                tokio::time::sleep(HANG).await;
            }
            return match fault {
                Fault::Status(_) => Err(error),
                _ => Ok(broken_answer()),
            };
        }
    }
    let incoming = incoming(path, fault.map(Fault::note));
    let receipt = state.ingest.receive(incoming, body).await?;
    let mut response = StatusCode::ACCEPTED.into_response();
    if let Some(etag) = receipt
        .etag
        .and_then(|etag| HeaderValue::from_str(&etag).ok())
    {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// An answer that breaks off before its end, which ends the connection, or over HTTP/2 the request.
fn broken_answer() -> Response {
    let end = futures_util::stream::once(async {
        Err::<bytes::Bytes, _>(std::io::Error::other("ended on purpose"))
    });
    let mut response = Body::from_stream(end).into_response();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Whether anything of the body is wanted. Rules of names and order are no matter of this: an upload that
/// breaks one is read to its end, because its sender may have no other copy.
async fn check(
    state: &AppState,
    caller: Result<Caller>,
    stream: &Stream,
    path: Result<&ObjectPath, &Error>,
    headers: &HeaderMap,
    length: Option<u64>,
) -> Result<()> {
    let caller = caller?;
    caller.may(state, Action::Upload, Some(stream)).await?;
    let path = path.map_err(|e| Error::new(e.kind(), e.message()))?;
    check_reserved(path)?;
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Error::new(
            Kind::Invalid,
            "Content-Range is not allowed in an upload: send the whole object (RFC 9110 section 14.5)",
        ));
    }
    check_encoding(headers)?;
    state.ingest.check_header(stream.id, path, length)
}

fn check_reserved(path: &ObjectPath) -> Result<()> {
    let reserved = path.as_str() == DESCRIPTION || path.as_str().ends_with(EVIDENCE);
    if reserved {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "\"{path}\" is reserved: names ending in .crt and stream.json are the server's own"
            ),
        ));
    }
    Ok(())
}

fn check_encoding(headers: &HeaderMap) -> Result<()> {
    let coded = |field: &HeaderValue| {
        !field
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    let codings = headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().count() > 1 || codings.iter().any(coded) {
        return Err(Error::new(
            Kind::Unsupported,
            "no Transfer-Encoding but \"chunked\" is handled: send the object as it is",
        ));
    }
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    for encoding in encodings {
        let text = encoding.to_str().unwrap_or("?");
        if !text
            .split(',')
            .all(|e| e.trim().is_empty() || e.trim().eq_ignore_ascii_case("identity"))
        {
            return Err(Error::new(
                Kind::Unsupported,
                format!("Content-Encoding {text:?} is not handled: send the object as it is"),
            ));
        }
    }
    Ok(())
}

/// A request to the publishing endpoint itself: sources ask with it whether they are welcome.
async fn greet(
    state: &AppState,
    caller: Result<Caller>,
    stream: &Stream,
    body: Body,
) -> Result<Response> {
    caller?.may(state, Action::Upload, Some(stream)).await?;
    let empty = http_body_util::Limited::new(body, 0).collect();
    match tokio::time::timeout(state.body_timeout, empty).await {
        Ok(Ok(_)) => Ok(StatusCode::ACCEPTED.into_response()),
        Ok(Err(_)) => Err(Error::new(
            Kind::Invalid,
            format!("name the object: /streams/{}/PATH", stream.id),
        )),
        Err(_) => Err(Error::new(
            Kind::TimedOut,
            "the body did not come to its end",
        )),
    }
}

/// `DELETE /streams/{id}/{path}`
pub(super) async fn delete(
    State(state): State<AppState>,
    target: InObject,
    caller: Caller,
) -> Result<Response> {
    let path = target.object_path();
    let stream = caller.may_in(&state, Action::Upload, target.stream).await?;
    let path = path?;
    check_reserved(&path)?;
    if let (Principal::Device(device), None) = (&caller.principal, &stream.owner)
        && is_of_another(&state, &stream, &path, device).await?
    {
        caller
            .may(&state, Action::DeleteObject, Some(&stream))
            .await?;
    }
    let subject = format!("{}/{path}", stream.id);
    state.ingest.delete(stream.id, path).await?;
    // Packagers delete all the time; what others take away is worth a line.
    if !matches!(caller.principal, Principal::Device(_)) {
        caller
            .note(&state, "object-deleted", subject, serde_json::Value::Null)
            .await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Whether the newest upload to the path was not the device's. What is not there is nobody's.
async fn is_of_another(
    state: &AppState,
    stream: &Stream,
    path: &ObjectPath,
    device: &str,
) -> Result<bool> {
    let (id, name) = (stream.id, path.as_str().to_owned());
    let newest = state
        .catalog
        .look_up(move |tables| tables.newest_upload_to(id, &name))
        .await?;
    let is_own = |upload: Upload| upload.request.device.as_deref() == Some(device);
    Ok(newest.is_some_and(|upload| !upload.is_some_and(is_own)))
}

/// `GET` and `HEAD /streams/{id}/{path}`
pub(super) async fn download(
    State(state): State<AppState>,
    target: InObject,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let path = target.object_path();
    let stream = caller.may_in(&state, Action::Read, target.stream).await?;
    let path = path?;
    if path.as_str() == DESCRIPTION {
        return Ok(axum::Json(streams::view(&state, &stream).await?).into_response());
    }
    if let Some(object) = path.as_str().strip_suffix(EVIDENCE) {
        return evidence(&state, &stream, ObjectPath::parse(object)?).await;
    }
    let growing = state.live.growing(stream.id, &path);
    if let Some(growing) = &growing
        && growing.extent.borrow().open
        && method == Method::GET
        && !headers.contains_key(header::RANGE)
    {
        return Ok(file::follow(&path, growing.clone()));
    }
    let object = open(&state, &stream, path.clone()).await?;
    file::serve(&method, &headers, &path, object).await
}

/// The object, or what can be read of it by now.
pub(super) async fn open(
    state: &AppState,
    stream: &Stream,
    path: ObjectPath,
) -> Result<ObjectFile> {
    let missing = Error::new(
        Kind::NotFound,
        format!("stream {} has no object \"{path}\"", stream.id),
    );
    let (id, shared) = (stream.id, state.clone());
    workdir::blocking(move || open_now(&shared, id, &path))
        .await?
        .ok_or(missing)
}

/// As [`open`], on the thread that asks; `None` if there is nothing at the path.
pub(super) fn open_now(
    state: &AppState,
    id: StreamId,
    path: &ObjectPath,
) -> Result<Option<ObjectFile>> {
    let grown = |growing: Growing| {
        let len = growing.extent.borrow().len;
        ObjectFile::up_to(growing.file, len).map(Some)
    };
    if let Some(growing) = state.live.growing(id, path) {
        return grown(growing);
    }
    let object = state.workdir.open_object(id, path)?;
    // Somebody may have begun to add to it before its size was read.
    match state.live.growing(id, path) {
        Some(growing) => grown(growing),
        None => Ok(object),
    }
}

/// Who uploaded the object: the fields of the client certificate.
async fn evidence(state: &AppState, stream: &Stream, path: ObjectPath) -> Result<Response> {
    let id = stream.id;
    let missing = |why: &str| {
        Error::new(
            Kind::NotFound,
            format!("stream {id} has no evidence for \"{path}\": {why}"),
        )
    };
    let name = path.as_str().to_owned();
    let shown = state
        .catalog
        .look_up(move |tables| {
            let Some(upload) = tables.newest_upload_to(id, &name)? else {
                return Ok(None);
            };
            let is_adopted = upload
                .as_ref()
                .is_some_and(|upload| upload.note.as_deref() == Some(adopt::NOTE));
            match upload.and_then(|upload| upload.request.peer) {
                Some(peer) => Ok(Some((tables.certificate(&peer)?, is_adopted))),
                None => Ok(Some((None, is_adopted))),
            }
        })
        .await?;
    let (der, is_adopted) = shown.ok_or_else(|| missing("there is no such object"))?;
    let der = match der {
        Some(der) => der,
        // Of a certificate that only the server before has seen there is what it has written down.
        None if is_adopted => {
            let workdir = state.workdir.clone();
            let object = path.clone();
            let read = move || adopt::evidence(&workdir, id, &object);
            let written = workdir::blocking(read).await?;
            let written = written.ok_or_else(|| missing("its file cannot be read"))?;
            return Ok(axum::Json(written).into_response());
        }
        None => return Err(missing("it was uploaded without a client certificate")),
    };
    let evidence = pki::evidence(&der)
        .map_err(|e| Error::internal("a recorded certificate cannot be read", e))?;
    Ok(axum::Json(evidence).into_response())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// What `X-EXTINF-duration` says; several fields say their values in order, as RFC 9110 section 5.3 has it.
fn extinf(headers: &HeaderMap) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(EXTINF)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn certificate(connection: &Connection) -> Option<Certificate> {
    match &connection.peer {
        Peer::Verified(cert) => Some(Certificate {
            fingerprint: cert.fingerprint.clone(),
            name: cert.name.clone(),
            serial: cert.serial.clone(),
            der: cert.der.as_slice().into(),
        }),
        Peer::Anonymous => None,
    }
}

fn record(
    method: &Method,
    uri: &axum::http::Uri,
    version: Version,
    headers: &HeaderMap,
    connection: &Connection,
    length: Option<u64>,
) -> RequestRecord {
    let framing = match (length, version) {
        (Some(_), _) => "content-length",
        (None, Version::HTTP_2) => "stream",
        (None, _) if headers.contains_key(header::TRANSFER_ENCODING) => "chunked",
        (None, _) => "none",
    };
    let (peer, device) = match &connection.peer {
        Peer::Verified(cert) => (Some(cert.fingerprint.clone()), Some(cert.name.clone())),
        Peer::Anonymous => (None, None),
    };
    RequestRecord {
        method: method.to_string(),
        target: uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: recorded_headers(headers),
        framing: framing.to_owned(),
        http_version: match version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
        .to_owned(),
        tls_version: connection.tls_version.to_owned(),
        cipher: connection.cipher.to_string(),
        connection: i64::try_from(connection.id).unwrap_or(i64::MAX),
        remote: connection.remote.to_string(),
        peer,
        device,
    }
}

/// The header fields in order, without secrets, as far as the record's room goes.
fn recorded_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut left = MAX_RECORDED;
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let secret = [
            header::AUTHORIZATION,
            header::COOKIE,
            header::PROXY_AUTHORIZATION,
        ]
        .contains(name);
        let value = if secret {
            "(redacted)".to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let size = name.as_str().len() + value.len();
        let Some(rest) = left.checked_sub(size) else {
            break;
        };
        left = rest;
        kept.push((name.as_str().to_owned(), value));
    }
    kept
}

/// A refused path in a form that can be recorded.
fn printable(path: &str) -> String {
    let shown: String = path
        .chars()
        .take(MAX_REFUSED_PATH / 4)
        .map(|c| if c.is_control() || c == '/' { '_' } else { c })
        .collect();
    if shown.chars().all(|c| c == '.') {
        "_".to_owned()
    } else {
        shown
    }
}
