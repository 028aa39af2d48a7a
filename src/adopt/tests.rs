use super::*;

#[tokio::test]
async fn of_many_replaced_versions_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let workdir = Workdir::open(Some(dir.path())).unwrap();
    let catalog = Catalog::open(&workdir.catalog_file().unwrap()).unwrap();
    let files = dir.path().join("streams/7/session_1");
    std::fs::create_dir_all(&files).unwrap();
    let description = r#"{"id": 7, "interface": "dash", "strict_mode": true}"#;
    std::fs::write(dir.path().join("streams/7/stream.json"), description).unwrap();
    let mut clock = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let mut write = |name: &str, text: &str| {
        let path = files.join(name);
        std::fs::write(&path, text).unwrap();
        clock += std::time::Duration::from_secs(1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(clock).unwrap();
    };
    for n in 0..30 {
        write(&format!("index.20261121_0752{n:02}.mpd"), &format!("m{n}"));
        write(&format!("other.20261121_0752{n:02}.mpd"), &format!("o{n}"));
    }
    write("index.mpd", "m");
    write("other.mpd", "o");
    let limits = KeptLimits {
        bytes: 1 << 20,
        uploads: 12,
    };
    adopt(&workdir, &catalog, limits).await.unwrap();
    let id = StreamId(7);
    let uploads = catalog.read(move |t| t.uploads(id, 0, 100)).await.unwrap();
    assert_eq!(uploads.len(), 62);
    let held: Vec<i64> = uploads.iter().filter(|u| u.content).map(|u| u.id).collect();
    // Twelve of the replaced ones, and the two that their paths serve.
    assert_eq!(held, (49..=62).collect::<Vec<_>>());
    let text = |upload| {
        let file = workdir.open_kept(id, upload).unwrap().unwrap();
        workdir::read_range(&file.file, 0, 10).unwrap()
    };
    assert_eq!((text(59), text(60)), (b"m29".to_vec(), b"o29".to_vec()));
    assert!(workdir.open_kept(id, 48).unwrap().is_none());
    // Nothing of the other server's is taken away.
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 62);
    assert_eq!(
        std::fs::read_dir(dir.path().join("incoming"))
            .unwrap()
            .count(),
        0
    );
    catalog.close();
}
