use super::*;
use crate::finding::{Findings, Profile};
use crate::names::{Interface, ObjectPath};

async fn catalog() -> (tempfile::TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.sqlite3")).unwrap();
    (dir, catalog)
}

fn by() -> By {
    By {
        who: "admin".to_owned(),
        from: "192.0.2.1".to_owned(),
    }
}

async fn stream(catalog: &Catalog) -> StreamId {
    let new = NewStream {
        interface: Interface::Dash,
        strict_mode: true,
        strict_media: false,
        owner: None,
        by: by(),
    };
    catalog.create_stream(new).await.unwrap().id
}

fn upload(stream: StreamId, path: &str, status: Status) -> NewUpload {
    NewUpload {
        stream,
        path: path.to_owned(),
        request: RequestRecord {
            method: "PUT".to_owned(),
            target: format!("/streams/{stream}/{path}"),
            headers: vec![("host".to_owned(), "localhost".to_owned())],
            framing: "chunked".to_owned(),
            http_version: "HTTP/2".to_owned(),
            tls_version: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_128_GCM_SHA256".to_owned(),
            connection: 1,
            remote: "127.0.0.1:5".to_owned(),
            peer: None,
            device: Some("cam-1".to_owned()),
        },
        extinf: None,
        first_byte: Timestamp::now(),
        outcome: Outcome {
            findings: Findings::default(),
            profile: Profile::Matter,
            status,
            note: None,
            object: None,
            size: 10,
            http_status: Some(202),
            errors: Vec::new(),
            rules: Vec::new(),
            judged: None,
            last_byte: Timestamp::now(),
        },
    }
}

fn object(stream: StreamId, path: &str, upload: i64, part: Option<i64>) -> NewObject {
    NewObject {
        stream,
        path: ObjectPath::parse(path).unwrap(),
        upload,
        size: 10,
        whole: true,
        part,
        header_size: 0,
        media_end: 10,
        end_time: None,
    }
}

fn fragment(offset: u64, decode_time: u64, duration: u64) -> FragmentRow {
    FragmentRow {
        offset,
        size: 10,
        media_offset: offset + 4,
        media_size: 6,
        decode_time: Some(decode_time),
        duration,
        sync: true,
        wall_clock: None,
        sequence: None,
    }
}

async fn store(
    catalog: &Catalog,
    stream: StreamId,
    path: &'static str,
    part: Option<i64>,
) -> (i64, i64) {
    catalog
        .write(move |tables| {
            let upload = tables.insert_upload(&upload(stream, path, Status::Accepted))?;
            let object = tables.replace_object(&object(stream, path, upload, part))?;
            tables.add_fragments(object, upload, &[fragment(0, 0, 100)])?;
            Ok((upload, object))
        })
        .await
        .unwrap()
}

async fn statuses(catalog: &Catalog, stream: StreamId) -> Vec<Status> {
    let uploads = catalog
        .read(move |tables| tables.uploads(stream, 0, 100))
        .await
        .unwrap();
    uploads.iter().map(|upload| upload.status).collect()
}

#[tokio::test]
async fn a_newer_object_supersedes_the_uploads_of_the_older_one() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    let (_, older) = store(&catalog, id, "a.m4s", None).await;
    store(&catalog, id, "a.m4s", None).await;
    assert_eq!(
        statuses(&catalog, id).await,
        [Status::Superseded, Status::Accepted]
    );
    let counts = catalog.read(move |tables| tables.counts(id)).await.unwrap();
    assert_eq!(
        (
            counts.uploads,
            counts.objects,
            counts.manifests,
            counts.bytes
        ),
        (2, 1, 0, 20)
    );
    let gone = catalog
        .read(move |tables| tables.fragments(older))
        .await
        .unwrap();
    assert!(gone.is_empty());
}

#[tokio::test]
async fn the_next_part_of_a_track_leaves_the_earlier_one_recorded() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    let (_, first) = store(&catalog, id, "Streams(v)", Some(1)).await;
    let (_, second) = store(&catalog, id, "Streams(v)", Some(2)).await;
    assert_eq!(
        statuses(&catalog, id).await,
        [Status::Accepted, Status::Accepted]
    );
    let held = catalog
        .read(move |tables| tables.object(id, "Streams(v)"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((held.id, held.part), (second, Some(2)));
    assert_eq!(
        catalog
            .read(move |tables| tables.fragments(first))
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn overlapping_fragments_are_found_by_time() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    let (upload, object) = store(&catalog, id, "Streams(v)", Some(1)).await;
    let at = |start, end| {
        let catalog = catalog.clone();
        async move {
            let found = catalog
                .read(move |tables| tables.fragment_at(object, start, end))
                .await
                .unwrap();
            found.map(|f| f.offset)
        }
    };
    catalog
        .write(move |tables| {
            tables.add_fragments(
                object,
                upload,
                &[fragment(10, 100, 100), fragment(20, 300, 0)],
            )
        })
        .await
        .unwrap();
    assert_eq!(at(0, 100).await, Some(0));
    assert_eq!(at(50, 60).await, Some(0));
    assert_eq!(at(50, 150).await, Some(0));
    assert_eq!(at(200, 300).await, None);
    assert_eq!(at(300, 300).await, Some(20));
    assert_eq!(at(400, 500).await, None);
}

#[tokio::test]
async fn d18_errors_are_named_while_the_newest_upload_has_them() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    for (errors, expected) in [
        (vec!["wrong".to_owned()], 1),
        (vec!["still".to_owned()], 1),
        (vec![], 0),
    ] {
        catalog
            .write(move |tables| {
                let number = tables.insert_upload(&upload(id, "a.mpd", Status::Accepted))?;
                tables.note_errors(id, "a.mpd", number, &errors)
            })
            .await
            .unwrap();
        let problems = catalog
            .read(move |tables| tables.problems(id, 10))
            .await
            .unwrap();
        let counts = catalog.read(move |tables| tables.counts(id)).await.unwrap();
        assert_eq!(
            (problems.len(), counts.problems),
            (expected, i64::try_from(expected).unwrap())
        );
    }
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing_and_harms_no_other() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    let good =
        catalog.write(move |tables| tables.insert_upload(&upload(id, "a", Status::Accepted)));
    let bad = catalog.write(move |tables| {
        tables.insert_upload(&upload(id, "b", Status::Accepted))?;
        Err::<i64, _>(rusqlite::Error::InvalidQuery)
    });
    let (good, bad) = tokio::join!(good, bad);
    assert!(good.is_ok() && bad.is_err());
    assert_eq!(statuses(&catalog, id).await.len(), 1);
}

#[tokio::test]
async fn what_is_written_is_there_after_opening_again() {
    let (dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    store(&catalog, id, "a.m4s", None).await;
    let change = StreamChange {
        track_name: Some(Some("video".to_owned())),
        strict_mode: Some(false),
        ..StreamChange::default()
    };
    catalog.change_stream(id, change).await.unwrap();
    catalog.close();
    let again = Catalog::open(&dir.path().join("catalog.sqlite3")).unwrap();
    let held = again.stream(id).unwrap();
    assert_eq!(
        (held.track_name.as_deref(), held.strict_mode),
        (Some("video"), false)
    );
    assert_eq!(statuses(&again, id).await, [Status::Accepted]);
    again.delete_stream(id).await.unwrap();
    assert!(again.stream(id).is_err());
    assert_eq!(again.deleted_streams().await.unwrap(), [id]);
    again.purge_stream(id).await.unwrap();
    assert_eq!(again.deleted_streams().await.unwrap(), []);
    assert_eq!(statuses(&again, id).await, []);
    assert!(stream(&again).await > id);
}

#[tokio::test]
async fn refused_uploads_are_kept_up_to_a_number() {
    let (_dir, catalog) = catalog().await;
    let id = stream(&catalog).await;
    catalog
        .write(move |tables| {
            for _ in 0..1100 {
                tables.insert_upload(&upload(id, "a", Status::Refused))?;
            }
            tables.insert_upload(&upload(id, "a", Status::Accepted))?;
            tables.prune_refused(id)
        })
        .await
        .unwrap();
    let left = catalog
        .read(move |tables| tables.uploads(id, 0, 2000))
        .await
        .unwrap();
    assert_eq!(left.len(), 1001);
}

#[tokio::test]
async fn a_catalogue_of_every_older_format_is_brought_up_to_date() {
    for seen in 1..=MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.sqlite3");
        let connection = Connection::open(&file).unwrap();
        for step in &MIGRATIONS[..seen] {
            connection.execute_batch(step).unwrap();
        }
        connection
            .execute(
                "INSERT INTO stream (interface, strict_mode, created) VALUES ('dash', 1, 5)",
                (),
            )
            .unwrap();
        connection
            .pragma_update(None, "user_version", seen as i64)
            .unwrap();
        drop(connection);
        let catalog = Catalog::open(&file).unwrap();
        assert!(catalog.stream(StreamId(1)).unwrap().strict_mode, "{seen}");
        stream(&catalog).await;
    }
}

#[test]
fn a_newer_catalogue_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.sqlite3");
    let connection = Connection::open(&file).unwrap();
    connection
        .pragma_update(None, "user_version", MIGRATIONS.len() as i64 + 1)
        .unwrap();
    let error = Catalog::open(&file).err().unwrap();
    assert!(
        error.message().contains("use the program that wrote it"),
        "{}",
        error.message()
    );
}

#[tokio::test]
async fn only_the_newest_refusals_are_kept() {
    let (_dir, catalog) = catalog().await;
    for batch in 0..5 {
        let rows: Vec<NewRefusal> = (0..300)
            .map(|n| NewRefusal {
                at: Timestamp::now(),
                count: 1,
                remote: "192.0.2.1:1".to_owned(),
                cause: "not-tls",
                reason: format!("{}", batch * 300 + n),
                certificate: None,
                hello: None,
                request: None,
            })
            .collect();
        catalog
            .write(move |tables| tables.add_refusals(&rows))
            .await
            .unwrap();
    }
    let kept = catalog
        .read(|tables| tables.refusals(None, 2000))
        .await
        .unwrap();
    assert_eq!(kept.len(), 1000);
    assert_eq!((kept[0].id, kept[999].id), (1500, 501));
    let events: i64 = catalog
        .read(|tables| {
            tables.0.query_row(
                "SELECT count(*) FROM event WHERE kind = 'refusal'",
                (),
                |row| row.get(0),
            )
        })
        .await
        .unwrap();
    assert_eq!(events, 1000);
}
