//! The page: `/ui/…`. Every answer is drawn from what the JSON routes say.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::extract::{Caller, InObject, InStream, Query, bearer_of, host, read_form};
use super::page::Page;
use super::sessions::SessionView;
use super::state::AppState;
use super::{boxes, devices, enrolments, objects, overview, probe, refusals, status, streams};
use crate::access::{Action, Principal};
use crate::catalog::{Enrolment, EnrolmentState, Stream, Upload};
use crate::names::{Naming, ObjectPath};
use crate::tls::Connection;
use crate::ui::{
    AuthorityView, Broken, CertView, CertificatesPage, DeviceRow, ErrorPage, Frame, LoginPage,
    ObjectPage, Section, SessionRow, Source, StatusPage, StreamPage, StreamsPage, assets, text,
};
use crate::view::overview::Overview;
use crate::view::timeline::Timeline;
use crate::workdir::Hierarchy;
use crate::{Error, Kind, Result, pki, workdir};

/// Uploads on one page.
const UPLOADS: usize = 100;
/// Uploads of one path that are shown.
const HISTORY: usize = 20;
/// Paths in error that are shown.
const PROBLEMS: usize = 500;
/// Largest manifest that is shown as text.
const MAX_TEXT: u64 = 256 * 1024;
/// First bytes of a box.
const HEX: usize = 256;
/// Nothing from elsewhere, nothing inline; the player needs `blob:` for what it puts together.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// `GET /`
pub(super) async fn front(uri: Uri) -> Response {
    let target = match uri.path() {
        "/ui/" => "streams",
        _ => "ui/streams",
    };
    redirect(target)
}

/// `GET /ui/assets/{file}`
pub(super) async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response> {
    let asset = assets::find(&file)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("the page has no file {file:?}")))?;
    let etag = format!("\"{}\"", assets::version());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.into_response()
    };
    let headers = response.headers_mut();
    put(headers, header::CONTENT_TYPE, asset.media_type);
    put(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(headers, header::CACHE_CONTROL, "no-cache");
    put(headers, header::ETAG, &etag);
    Ok(response)
}

/// `GET /ui/streams`
pub(super) async fn stream_list(
    State(state): State<AppState>,
    uri: Uri,
    caller: Result<Caller>,
    Query(asked): Query<overview::Asked>,
) -> Response {
    let frame = frame(&uri, "streams", caller.as_ref());
    let page = async {
        let page = overview::page(&state, &caller?, &asked).await?;
        draw(&StreamsPage {
            frame: frame.clone(),
            search: asked.q.unwrap_or_default(),
            rows: page.streams,
            found: page.found,
            next: page.next.map(|id| id.0),
            first: asked.before.is_none(),
        })
    };
    shown(page.await, &frame, &uri)
}

#[derive(Deserialize)]
pub(super) struct Older {
    before: Option<i64>,
}

/// `GET /ui/streams/{id}`
pub(super) async fn stream(
    State(state): State<AppState>,
    uri: Uri,
    stream: InStream,
    caller: Result<Caller>,
    headers: HeaderMap,
    Query(older): Query<Older>,
) -> Response {
    let frame = frame(&uri, "streams", caller.as_ref());
    let page = async {
        let stream = caller?.may_in(&state, Action::Read, stream).await?;
        let timeline = overview::read_timeline(&state, &stream).await?;
        let (id, before) = (stream.id, older.before.unwrap_or(i64::MAX));
        let (uploads, problems, files) = state
            .catalog
            .read(move |tables| {
                Ok((
                    tables.uploads_before(id, None, before, UPLOADS + 1)?,
                    tables.problems(id, PROBLEMS)?,
                    tables.objects(id, false, UPLOADS)?,
                ))
            })
            .await?;
        let (uploads, next) = super::page::paged(uploads, UPLOADS, |upload| upload.id);
        let profile = stream.interface.profile();
        let uploads: Vec<Upload> = uploads
            .into_iter()
            .map(|upload| upload.in_profile(profile))
            .collect();
        let problems = problems
            .into_iter()
            .map(|problem| (problem.path, problem.errors))
            .collect();
        let files = files.into_iter().map(|object| object.path).collect();
        let authority = host_and_port(&headers, &uri);
        draw(&StreamPage {
            frame: frame.clone(),
            endpoint: format!("https://{authority}/streams/{id}/"),
            stream: at_a_glance(&state, &stream).await?,
            sources: sources(&timeline, files),
            sessions: streams::view(&state, &stream)
                .await?
                .sessions
                .into_iter()
                .rev()
                .map(session_row)
                .collect(),
            timeline,
            broken: broken(problems, &uploads),
            uploads,
            next,
            newest: older.before.is_none(),
        })
    };
    shown(page.await, &frame, &uri)
}

#[derive(Deserialize)]
pub(super) struct Place {
    from: Option<u64>,
    at: Option<u64>,
}

/// `GET /ui/streams/{id}/{path}`
pub(super) async fn object(
    State(state): State<AppState>,
    uri: Uri,
    target: Result<InObject>,
    caller: Result<Caller>,
    Query(place): Query<Place>,
) -> Response {
    let frame = frame(&uri, "streams", caller.as_ref());
    let page = async {
        let target = target?;
        let path = target.object_path();
        let stream = caller?.may_in(&state, Action::Read, target.stream).await?;
        object_page(&state, &stream, path?, place, frame.clone()).await
    };
    shown(page.await, &frame, &uri)
}

async fn object_page(
    state: &AppState,
    stream: &std::sync::Arc<Stream>,
    path: ObjectPath,
    place: Place,
    frame: Frame,
) -> Result<Response> {
    let (id, name) = (stream.id, path.as_str().to_owned());
    let uploads = state
        .catalog
        .read(move |tables| tables.uploads_before(id, Some(&name), i64::MAX, HISTORY))
        .await?;
    let profile = stream.interface.profile();
    let uploads: Vec<Upload> = uploads
        .into_iter()
        .map(|upload| upload.in_profile(profile))
        .collect();
    let held = match objects::open(state, stream, path.clone()).await {
        Ok(held) => Some(held),
        Err(e) if e.kind() == Kind::NotFound && !uploads.is_empty() => None,
        Err(e) => return Err(e),
    };
    let mut page = ObjectPage {
        frame,
        stream: at_a_glance(state, stream).await?,
        path: path.as_str().to_owned(),
        size: held.as_ref().map(|held| held.size),
        text: None,
        probe: Vec::new(),
        probe_json: String::new(),
        no_probe: None,
        boxes: None,
        from: place.from.unwrap_or(0),
        at: place.at,
        hex: Vec::new(),
        uploads,
    };
    let Some(held) = held else { return draw(&page) };
    if path.is_manifest() {
        let length = usize::try_from(held.size.min(MAX_TEXT)).unwrap_or(0);
        let bytes = workdir::blocking(move || workdir::read_range(&held.file, 0, length)).await?;
        page.text = Some(String::from_utf8_lossy(&bytes).into_owned());
        return draw(&page);
    }
    if let Some(at) = place.at.filter(|at| *at < held.size) {
        let length = usize::try_from(held.size - at).unwrap_or(HEX).min(HEX);
        let bytes = workdir::blocking(move || workdir::read_range(&held.file, at, length)).await?;
        page.hex = text::hex(&bytes, at);
    }
    match probe::report(state, stream, path.clone()).await {
        Ok(report) => {
            let json = serde_json::to_value(&report)
                .map_err(|e| Error::internal("a report cannot be written", e))?;
            page.probe = sections(&json);
            page.probe_json = format!("{json:#}");
        }
        Err(e) if e.kind() == Kind::Internal => return Err(e),
        Err(e) => page.no_probe = Some(e.message().to_owned()),
    }
    let asked = boxes::Asked {
        from: place.from,
        limit: None,
    };
    let boxes = boxes::read(state, stream, path, asked).await?;
    // What is no ISO media file at all has no box to show.
    page.boxes = Some(boxes).filter(|boxes| !boxes.boxes.is_empty());
    draw(&page)
}

/// `GET /ui/status`
pub(super) async fn status(
    State(state): State<AppState>,
    uri: Uri,
    caller: Result<Caller>,
) -> Response {
    let frame = frame(&uri, "status", caller.as_ref());
    let page = async {
        draw(&StatusPage {
            frame: frame.clone(),
            status: status::read(&state, &caller?).await?,
        })
    };
    shown(page.await, &frame, &uri)
}

#[derive(Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

/// `GET /ui/certificates`
pub(super) async fn certificates(
    State(state): State<AppState>,
    uri: Uri,
    caller: Result<Caller>,
    headers: HeaderMap,
    Query(after): Query<After>,
) -> Response {
    let frame = frame(&uri, "certificates", caller.as_ref());
    let page = async {
        let caller = caller?;
        caller.may(&state, Action::ReadCertificates, None).await?;
        let devices = devices::read(&state, &caller, Page::after(after.after)).await?;
        let enrolments = enrolments::read(&state, &caller, Page::after(None)).await?;
        let refusals = refusals::read(&state, &caller, Page::after(None)).await?;
        let is_open = |enrolment: &Enrolment| enrolment.state == EnrolmentState::Open;
        draw(&CertificatesPage {
            frame: frame.clone(),
            endpoint: format!("https://{}", host_and_port(&headers, &uri)),
            authorities: authorities(&state)?,
            devices: devices.devices.into_iter().map(device_row).collect(),
            next: devices.next,
            enrolments: enrolments.enrolments.into_iter().filter(is_open).collect(),
            refusals: refusals.refusals,
        })
    };
    shown(page.await, &frame, &uri)
}

/// The two hierarchies: their roots, and what this server shows.
fn authorities(state: &AppState) -> Result<Vec<AuthorityView>> {
    let cert = |hierarchy: Hierarchy, file: &str| {
        let described = pki::describe_cert(state.identity.read(hierarchy, file)?.as_bytes());
        described
            .map(cert_view)
            .map_err(|e| Error::internal("a stored certificate cannot be read", e))
    };
    Ok(vec![
        AuthorityView {
            title: "Server hierarchy",
            meaning: "Its root is what cameras and other clients must trust.",
            certs: vec![
                cert(Hierarchy::Server, "root.pem")?,
                cert(Hierarchy::Server, "localhost.pem")?,
            ],
            download: true,
        },
        AuthorityView {
            title: "Device hierarchy",
            meaning: "Its root is what this server knows its devices by; nobody else needs it.",
            certs: vec![cert(Hierarchy::Device, "root.pem")?],
            download: false,
        },
    ])
}

fn cert_view(cert: pki::CertDescription) -> CertView {
    let left = cert.validity.not_after - time::OffsetDateTime::now_utc();
    let key = [Some(cert.key_type.as_str()), cert.key_curve];
    let size = cert.key_curve.is_none().then_some(cert.key_size).flatten();
    CertView {
        days_left: left.whole_days(),
        until: cert
            .not_valid_after
            .replace("T", " ")
            .replace("+00:00", " UTC"),
        key: key
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .chain(size.map(|bits| bits.to_string()))
            .collect::<Vec<_>>()
            .join(" "),
        names: cert.subject_alt_names.join(", "),
        subject: cert.subject,
        fingerprint: cert.fingerprint_sha256,
    }
}

fn device_row(device: devices::DeviceView) -> DeviceRow {
    let newest = device.certificates.first();
    let state = newest.map_or("none", |cert| cert.state.as_str());
    let until = newest.map_or_else(String::new, |cert| text::rfc3339(&cert.not_after));
    DeviceRow {
        state,
        is_good: device
            .certificates
            .iter()
            .any(|cert| matches!(cert.state.as_str(), "valid" | "expiring" | "superseded")),
        fingerprint: newest.map_or_else(String::new, |cert| cert.fingerprint.clone()),
        until: until.split('T').next().unwrap_or_default().to_owned(),
        seen: device.last_seen.as_ref().map(|seen| seen.at),
        from: device
            .last_seen
            .and_then(|seen| seen.address)
            .unwrap_or_default(),
        name: device.name,
        streams: device.streams,
        uploads: device.uploads,
        errors: device.errors,
    }
}

#[derive(Deserialize)]
pub(super) struct Then {
    then: Option<String>,
}

/// `GET /ui/login`
pub(super) async fn login_form(
    uri: Uri,
    caller: Result<Caller>,
    Query(then): Query<Then>,
) -> Response {
    let frame = frame(&uri, "login", caller.as_ref());
    let page = draw(&LoginPage {
        frame: frame.clone(),
        then: then.then.unwrap_or_default(),
        wrong: None,
    });
    shown(page, &frame, &uri)
}

#[derive(Deserialize)]
struct LoginForm {
    token: String,
    #[serde(default)]
    then: String,
}

/// `POST /ui/login`
pub(super) async fn log_in(State(state): State<AppState>, request: Request) -> Response {
    let uri = request.uri().clone();
    let frame = Frame {
        who: String::new(),
        logged_in: false,
        ..frame(&uri, "login", Err(&Error::new(Kind::Unidentified, "")))
    };
    let connection = request.extensions().get::<Connection>().cloned();
    let done = async {
        let form: LoginForm = read_form(request, &state).await?;
        let connection = connection
            .ok_or_else(|| Error::new(Kind::Internal, "a request came without its connection"))?;
        let token = form.token.trim();
        if let Err(e) = bearer_of(token, &connection, &state).await {
            let page = LoginPage {
                frame: frame.clone(),
                then: form.then,
                wrong: Some(e.message().to_owned()),
            };
            return Ok(with_status(draw(&page)?, &e));
        }
        let cookie = state.logins.open(token)?;
        tracing::info!(from = %connection.remote, "logged in");
        // Only places on this page: an address that somebody else made up leads nowhere else.
        let then = match ui_path(&form.then) {
            true => format!("../{}", form.then),
            false => "streams".to_owned(),
        };
        let mut response = redirect(&then);
        put(response.headers_mut(), header::SET_COOKIE, &cookie);
        Ok(response)
    };
    shown(done.await, &frame, &uri)
}

/// `POST /ui/logout`
pub(super) async fn log_out(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let cookie = state.logins.close(&headers);
    let mut response = redirect("streams");
    put(response.headers_mut(), header::SET_COOKIE, &cookie);
    response
}

/// Whether a text is the address of a page, from the server's root.
fn ui_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
    text.starts_with("ui/") && text.bytes().all(plain) && !text.contains("..")
}

fn frame(uri: &Uri, section: &'static str, caller: Result<&Caller, &Error>) -> Frame {
    let depth = uri.path().matches('/').count().saturating_sub(1);
    let principal = caller.map(|caller| &caller.principal).ok();
    Frame {
        root: if depth == 0 {
            "./".to_owned()
        } else {
            "../".repeat(depth)
        },
        section,
        who: principal.map_or_else(String::new, |principal| match principal {
            Principal::Loopback => "this machine".to_owned(),
            Principal::Anyone => "not logged in".to_owned(),
            known => known.describe(),
        }),
        logged_in: matches!(principal, Some(Principal::Admin(_) | Principal::Viewer(_))),
    }
}

fn draw(page: &impl Template) -> Result<Response> {
    let text = page
        .render()
        .map_err(|e| Error::internal("a page cannot be drawn", e))?;
    let mut response = text.into_response();
    let headers = response.headers_mut();
    put(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    put(headers, header::CONTENT_SECURITY_POLICY, POLICY);
    put(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(headers, header::REFERRER_POLICY, "same-origin");
    put(headers, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// The page, or the one that says why there is none: a form to log in, where that would help.
fn shown(page: Result<Response>, frame: &Frame, uri: &Uri) -> Response {
    let error = match page {
        Ok(response) => return response,
        Err(error) => error,
    };
    let drawn = if error.kind() == Kind::Unidentified {
        draw(&LoginPage {
            frame: frame.clone(),
            then: uri.path().trim_start_matches('/').to_owned(),
            wrong: None,
        })
    } else {
        let status = StatusCode::from_u16(error.kind().http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_ours = error.kind() == Kind::Internal;
        if is_ours {
            tracing::error!(error = %error.chain(), "request failed");
        }
        draw(&ErrorPage {
            frame: frame.clone(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            detail: if is_ours {
                "The server failed; its log says why.".to_owned()
            } else {
                error.message().to_owned()
            },
        })
    };
    match drawn {
        Ok(response) => with_status(response, &error),
        Err(e) => e.into_response(),
    }
}

/// The status and the fields that the error would have had as JSON.
fn with_status(page: Response, error: &Error) -> Response {
    let plain = Error::new(error.kind(), "").into_response();
    let (mut parts, body) = page.into_parts();
    parts.status = plain.status();
    for (name, value) in plain.headers() {
        // A browser asked to authenticate would put up a form of its own.
        if name != header::WWW_AUTHENTICATE {
            parts.headers.entry(name).or_insert(value.clone());
        }
    }
    Response::from_parts(parts, body)
}

fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    put(response.headers_mut(), header::LOCATION, to);
    response
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn host_and_port(headers: &HeaderMap, uri: &Uri) -> String {
    let given = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| headers.get(header::HOST)?.to_str().ok())
        .or_else(|| host(headers, uri));
    given.unwrap_or("HOST").to_owned()
}

async fn at_a_glance(state: &AppState, stream: &std::sync::Arc<Stream>) -> Result<Overview> {
    let mut all = overview::overviews(state, vec![std::sync::Arc::clone(stream)]).await?;
    all.pop()
        .ok_or_else(|| Error::new(Kind::Internal, "a stream has no overview"))
}

fn session_row(session: SessionView) -> SessionRow {
    SessionRow {
        id: session.id,
        run: session.run,
        state: session.state.as_str(),
        text: session.state_text,
        tracks: session
            .tracks
            .into_values()
            .map(|track| (track.name, track.state, track.segment_count))
            .collect(),
        opened: session.opened,
        last_upload: session.last_upload,
    }
}

/// What can be played: sessions by their manifests, the tracks as they are stored, and whole files.
fn sources(timeline: &Timeline, files: Vec<String>) -> Vec<Source> {
    let is_top = |path: &str| {
        // Of HLS the playlist that names the others, where there is one; media playlists come after it.
        path.ends_with(".mpd") || path.ends_with("index.m3u8") || path.ends_with("master.m3u8")
    };
    let (first, rest): (Vec<&String>, Vec<&String>) =
        timeline.manifests.iter().partition(|path| is_top(path));
    let mut sources: Vec<Source> = first
        .into_iter()
        .chain(rest)
        .map(|path| Source {
            kind: "manifest",
            path: path.clone(),
            label: path.clone(),
        })
        .collect();
    let playable = |line: &crate::view::timeline::Line| {
        line.header.is_some() && line.bars.iter().any(|bar| bar.start.is_some())
    };
    let names: Vec<&str> = timeline
        .tracks
        .iter()
        .filter(|line| playable(line))
        .map(|line| line.name.as_str())
        .collect();
    if !names.is_empty() {
        sources.push(Source {
            kind: "tracks",
            path: String::new(),
            label: "Tracks as stored".to_owned(),
        });
    }
    for path in files {
        let is_file = ObjectPath::parse(&path).is_ok_and(|parsed| {
            parsed.naming() == Naming::Plain
                && matches!(parsed.extension(), Some("mp4" | "m4v" | "m4a"))
        });
        if is_file && !names.contains(&path.as_str()) {
            sources.push(Source {
                kind: "file",
                label: path.clone(),
                path,
            });
        }
    }
    sources
}

/// What the stream's paths, and its newest uploads, break: by rule, the most frequent first.
fn broken(problems: Vec<(String, Vec<String>)>, uploads: &[Upload]) -> Vec<Broken> {
    let mut rules: BTreeMap<(String, String), Broken> = BTreeMap::new();
    for (path, reasons) in problems {
        for reason in reasons {
            let key = (String::new(), reason.clone());
            let entry = rules.entry(key).or_insert_with(|| Broken {
                rule: String::new(),
                severity: "error",
                clause: "",
                reason,
                places: Vec::new(),
            });
            entry.places.push((path.clone(), None));
        }
    }
    for upload in uploads {
        for found in &upload.findings {
            let key = (found.rule.clone(), String::new());
            let entry = rules.entry(key).or_insert_with(|| Broken {
                rule: found.rule.clone(),
                severity: found.severity.map_or("", |severity| severity.as_str()),
                clause: found.clause.unwrap_or_default(),
                reason: found.message.clone(),
                places: Vec::new(),
            });
            entry.places.push((upload.path.clone(), found.offset));
        }
    }
    let mut all: Vec<Broken> = rules.into_values().collect();
    all.sort_by_key(|broken| std::cmp::Reverse(broken.places.len()));
    all
}

/// A report as tables: one for the format, one for each stream.
fn sections(report: &serde_json::Value) -> Vec<Section> {
    let rows = |value: &serde_json::Value| {
        let fields = value.as_object().into_iter().flatten();
        fields
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .map(|(name, value)| {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (name.clone(), text)
            })
            .collect()
    };
    let streams = report["streams"].as_array().into_iter().flatten();
    let mut sections: Vec<Section> = streams
        .map(|stream| Section {
            title: format!(
                "{} {}",
                stream["codec_type"].as_str().unwrap_or("track"),
                stream["index"]
            ),
            rows: rows(stream),
        })
        .collect();
    sections.push(Section {
        title: "format".to_owned(),
        rows: rows(&report["format"]),
    });
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_gone_to_after_a_login() {
        for (text, expected) in [
            ("ui/streams/1", true),
            ("ui/status", true),
            ("", false),
            ("//evil.example/", false),
            ("https://evil.example/", false),
            ("ui/../x", false),
            ("ui/\\evil", false),
        ] {
            assert_eq!(ui_path(text), expected, "{text}");
        }
    }

    #[test]
    fn pages_know_the_way_to_the_root() {
        let root = |path: &str| {
            frame(
                &path.parse().unwrap(),
                "",
                Err(&Error::new(Kind::Shape, "")),
            )
            .root
        };
        assert_eq!(root("/ui/streams"), "../");
        assert_eq!(root("/ui/streams/1/a/b.m4s?x=/"), "../../../../");
    }
}
