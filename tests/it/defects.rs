//! The defects of the Matter project's test server, and the tests that show that they are not here.
//!
//! A test has the numbers of its defects at the front of its name. The table says what was wrong there.
//!
//! | defect | there | tests |
//! |---|---|---|
//! | D1 | HLS can never pass: the header field with a segment's length is not found | `d01_d21_a_session_of_hls_can_pass`, `d01_d21_hls` |
//! | D2 | no restart on an existing directory; `override=false` on an existing name is 500 | `d02_restart_on_existing_directory`, `d02_a_first_start_that_was_killed_is_begun_anew`, `d02_the_directory_of_the_server_before_is_taken_over`, `d02_an_existing_name_is_no_server_error` |
//! | D3 | the server's certificate has no names, lives an hour and is not renewed | `d03_the_server_certificate_has_its_names`, `d03_an_old_server_certificate_is_made_anew` |
//! | D4 | device certificates live an hour; refused ones get neither alert nor log line | `d04_device_certificates_live_as_long_as_told`, `d04_a_refused_certificate_gets_an_alert_and_a_log_line` |
//! | D5 | streams opened at the same time get the same number | `d05_forty_parallel_posts_give_forty_ids` |
//! | D6 | everybody may do everything and download every private key | `d06_local_access`, `d06_closed_access`, `d06_open_access`, `d06_no_private_key_leaves_by_get`, `d06_files_are_for_their_owner_alone`, `d06_what_others_could_read_is_closed_at_the_start` |
//! | D7 | a key pair named `root` takes the place of the device root | `d07_the_name_of_the_root_is_refused` |
//! | D8 | signing requests are not verified, short keys are signed, old keys stay beside new certificates | `d08_bad_requests_are_not_signed`, `d08_a_request_not_signed_by_its_own_key_is_refused`, `d08_signing_over_a_key_pair_leaves_no_stale_key` |
//! | D9 | paths lead out of the stream's directory | `d09_paths_cannot_leave_their_stream` |
//! | D10 | clients' mistakes are 500 and tell where files lie | `d10_a_missing_object_is_404`, `d10_missing_certificates_are_404`, `d10_names_are_checked`, `d10_a_name_that_is_file_and_directory_is_no_server_error`, `d10_our_own_failures_tell_nothing_but_their_id` |
//! | D11 | a malformed MPD opens a session in memory only | `d11_a_manifest_that_cannot_be_read_creates_nothing` |
//! | D12 | bodies are held in memory, without limit, and seen only at their end | `d12_two_gigabytes_by_h1`, `d12_two_gigabytes_by_h2`, `d12_an_endless_live_upload`, `d12_a_live_upload_is_readable_from_its_first_fragment`, `d12_an_object_is_seen_only_when_whole` |
//! | D13 | one large manifest blocks everybody | `d13_a_large_manifest_does_not_hold_others_up` |
//! | D14 | each upload rewrites the whole history of its stream | `d14_no_file_is_written_again_for_each_upload` |
//! | D15 | state is not written atomically; what is broken keeps the server from starting | `d15_rubbish_in_a_streams_directory_does_not_stop_the_start`, `d15_kill_during_uploads_loses_nothing_that_was_acknowledged`, `d15_kill_while_a_track_is_appended_leaves_whole_fragments` |
//! | D16 | an upload is judged by the session that was open when it began | `d16_a_slow_upload_is_judged_when_it_is_whole` |
//! | D17 | rejected uploads replace the stored object and move the state | `d17_a_broken_upload_leaves_the_old_object`, `d17_what_is_rejected_replaces_nothing_and_is_kept`, `d17_what_breaks_a_rule_moves_nothing_and_facts_are_all_that_counts` |
//! | D18 | a corrected upload never becomes valid; an MPD that is refreshed becomes invalid | `d18_an_error_is_over_when_it_is_put_right`, `d18_errors_are_named_while_the_newest_upload_has_them` |
//! | D19 | a static MPD in error ends the session; any session's number may be sent in any other | `d19_the_number_in_the_path_is_the_session` |
//! | D20 | playlists are taken for DASH | `d20_manifests_belong_to_their_interface` |
//! | D21 | HLS counts uploads instead of tracks | `d01_d21_a_session_of_hls_can_pass`, `d01_d21_hls` |
//! | D22 | versions of one second overwrite each other; evidence is not versioned and can be forged | `d22_versions_of_one_second_are_told_apart`, `d22_the_evidence_says_who_uploaded`, `d22_clients_cannot_forge_evidence_or_state` |
//! | D23 | aborted uploads leave no trace | `d23_an_aborted_upload_leaves_a_record` |
//! | D24 | HTTP/3 is advertised and does not work | `d24_no_other_protocol_is_advertised` |
//! | D25 | an early refusal kills an HTTP/2 connection | `d25_an_early_refusal_can_be_read_on_h2` |
//! | D26 | connections are closed after five seconds or a thousand requests | `d26_an_idle_connection_is_kept`, `d26_a_connection_takes_more_than_a_thousand_requests` |
//! | D27 | uploaded names run as scripts in the pages | `d27_a_browser_runs_nothing_that_was_uploaded` |
//! | D28 | `created` means reused; no `Location` | `d28_a_key_pair_is_made_once_unless_overridden`, `d28_a_new_stream_says_where_it_is` |
//! | D29 | probing works with one version of ffprobe, and never for segments | `d29_a_header_is_probed`, `d29_a_media_segment_is_probed_with_its_header`, `d29_what_cannot_be_probed_is_said` |
//! | D30 | the content script pushes what strict mode refuses (the patch that its README asks for is not needed here) | `d30_the_content_script_pushes_tracks_that_strict_mode_takes` |
//! | D31 | mDNS tells 127.0.0.1:1234 whatever is true; temporary directories stay | `d31_real_addresses_and_the_real_port_are_advertised`, `d31_every_network_is_told_its_own_address`, `d31_without_multicast_there_is_a_warning`, `d31_a_temporary_directory_is_removed_at_the_end` |
//! | D32 | the list of streams has the whole history of all of them | `d32_a_long_history_does_not_swell_the_list` |
//! | D33 | uploads without a session are not shown | `d33_uploads_without_a_session_are_listed` |
//! | D34 | path rules take digits of other scripts, longer paths and other capitals | `d34_paths_are_what_their_whole_text_says`, `d34_names_are_looked_at_whole_after_the_body` |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How many there are.
const DEFECTS: u32 = 34;

/// The functions whose names begin with `dNN_` and that are run as tests.
fn tests(dir: PathBuf, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests(path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source");
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line
                    .strip_prefix("async ")
                    .unwrap_or(line)
                    .strip_prefix("fn ");
                if let Some(name) = name {
                    let name = name.split('(').next().unwrap_or_default();
                    if is_test && !numbers(name).is_empty() {
                        found.insert(name.to_owned());
                    }
                    is_test = false;
                }
            }
        }
    }
}

/// The defects that a test's name begins with: 1 and 21 for `d01_d21_hls`.
fn numbers(name: &str) -> Vec<u32> {
    let parts = name.split('_');
    let number = |part: &str| {
        part.strip_prefix('d')
            .filter(|n| n.len() == 2)?
            .parse()
            .ok()
    };
    parts.map_while(number).collect()
}

#[test]
fn every_defect_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for dir in ["tests", "src"] {
        tests(root.join(dir), &mut found);
    }
    let mut listed = BTreeSet::new();
    let mut next = 1;
    for line in include_str!("defects.rs").lines() {
        let Some(row) = line.strip_prefix("//! | D") else {
            continue;
        };
        let (number, rest) = row.split_once(" | ").expect("a row");
        let number: u32 = number.parse().expect("a number");
        assert_eq!(number, next, "in order, without gap");
        next += 1;
        let (_, named) = rest.rsplit_once(" | ").expect("tests");
        let names: Vec<&str> = named
            .split('`')
            .filter(|name| !numbers(name).is_empty())
            .collect();
        assert!(!names.is_empty(), "D{number} has no test");
        for name in names {
            assert!(found.contains(name), "D{number}: there is no test {name}");
            assert!(
                numbers(name).contains(&number),
                "{name} does not say D{number}"
            );
            listed.insert(name.to_owned());
        }
    }
    assert_eq!(next - 1, DEFECTS);
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}
