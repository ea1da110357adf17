//! `evidence`, where there is nothing to judge, and its keys.

use testkit::gateway::{Finished, Launch};

async fn evidence(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let launch = arguments
        .iter()
        .fold(Launch::new().arg("evidence"), |launch, argument| {
            launch.arg(*argument)
        });
    launch.envs(variables.iter().copied()).finish().await
}

#[tokio::test]
async fn nothing_is_no_proof_and_what_is_no_source_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let empty = directory.path().join("empty.jsonl");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.display().to_string();
    for (arguments, code, words) in [
        (&["verify", "--file", &empty][..], 1, "nothing to verify"),
        (&["verify", "--json", "--file", &empty], 1, "nothing to verify"),
        (&["verify", "--allow-empty", "--file", &empty], 0, ""),
        (&["verify", "--spool", &path], 1, "holds nothing of a spool"),
        (&["verify", "--allow-empty", "--spool", &path], 0, ""),
        (&["verify", "--spool", "/nonexist"], 69, "AUDIT_REPLAY_DIR"),
        (&["tail", "--after", "nonsense"], 2, "--after"),
    ] {
        let finished = evidence(arguments, &[]).await;
        let said = finished.stderr.join("\n");
        assert_eq!(finished.code, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(said.is_empty(), words.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn the_public_key_of_checkpoints_is_printed_or_it_is_said_where_it_is() {
    // RFC 8032 §7.1, test 1.
    let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let told = evidence(&["key"], &[("AUDIT_CHECKPOINT_KEY", secret)]).await;
    assert_eq!((told.code, told.stdout), (Some(0), vec![public.to_owned()]));
    for (value, words) in [("", "not set"), ("11", "AUDIT_CHECKPOINT_KEY")] {
        let refused = evidence(&["key"], &[("AUDIT_CHECKPOINT_KEY", value)]).await;
        assert_eq!(refused.code, Some(78), "{:?}", refused.stderr);
        assert!(refused.stderr.join("\n").contains(words), "{:?}", refused.stderr);
    }
}
