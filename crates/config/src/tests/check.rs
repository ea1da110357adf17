//! The production checklist.

use super::fixture::{Files, dev, now, production, with};
use crate::{MapEnv, Status, checklist};

/// One letter for each line: pass, fail or manual.
fn letters(env: &MapEnv) -> String {
    let letter = |line: crate::ChecklistLine| match line.status {
        Status::Pass => 'p',
        Status::Fail { .. } => 'f',
        Status::Manual { .. } => 'm',
    };
    checklist(env, now()).into_iter().map(letter).collect()
}

#[test]
fn each_line_fails_for_its_own_fault_alone() {
    let files = Files::new();
    let base = production(&files);
    for (changes, expect) in [
        (&[][..], "ppppppppmmp"),
        (&[("CARACAL_ENV", "dev")], "fpppppppmmp"),
        (&[("CARACAL_ENV", "prod")], "fpppppppmmp"),
        (&[("TLS_CERT_FILE", ""), ("TLS_KEY_FILE", "")], "pfppppppmmf"),
        (&[("TLS_KEY_FILE", "")], "pfppppppmmf"),
        (&[("INSECURE_HTTP", "true")], "ppfpppppmmp"),
        (&[("INSECURE_HTTP", "false")], "ppppppppmmp"),
        (&[("INSECURE_STS", "true")], "pppfppppmmp"),
        (&[("JTI_FAIL_OPEN", "true")], "ppppfpppmmp"),
        (&[("JTI_FAIL_OPEN", "maybe")], "ppppfpppmmp"),
        (&[("STREAMS_HMAC_KEY", "00")], "pppppfppmmp"),
        (&[("STREAMS_HMAC_KEY", "")], "pppppfppmmp"),
        (&[("ALLOW_PRIVATE_UPSTREAMS", "true")], "ppppppffmmp"),
        (
            &[
                ("ALLOW_PRIVATE_UPSTREAMS", "true"),
                ("UPSTREAM_HOST_ALLOWLIST", "a.internal"),
            ],
            "ppppppppmmp",
        ),
    ] {
        assert_eq!(letters(&with(base.clone(), changes)), expect, "{changes:?}");
    }
    assert_eq!(letters(&MapEnv::new()), "pfpppfppmmf");
    assert_eq!(letters(&dev()), "fffpppppmmf");
}

#[test]
fn renewal_is_due_at_a_third_of_a_short_life_and_a_month_of_a_long_one() {
    for (from, to, expect) in [
        ((2026, 1, 1), (2026, 10, 2), 'p'),
        ((2026, 1, 1), (2026, 9, 20), 'f'),
        ((2026, 8, 30), (2026, 9, 5), 'p'),
        ((2026, 8, 27), (2026, 9, 2), 'f'),
        ((2026, 1, 1), (2026, 8, 1), 'f'),
    ] {
        let files = Files::new();
        let (cert, key) = files.pair(from, to);
        let env = MapEnv::new()
            .with("TLS_CERT_FILE", cert)
            .with("TLS_KEY_FILE", key);
        assert_eq!(letters(&env).chars().last(), Some(expect), "{from:?} {to:?}");
    }
}

#[test]
fn a_failing_line_carries_its_fix_and_a_manual_one_its_proof() {
    let lines: Vec<String> = checklist(&dev(), now()).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines[0],
        "fail    CARACAL_ENV is production: set CARACAL_ENV=production, or unset it"
    );
    assert_eq!(
        lines[1],
        "fail    a certificate and key are set, valid and not expired: \
         TLS_CERT_FILE/TLS_KEY_FILE required; set INSECURE_HTTP=true to run plaintext"
    );
    assert_eq!(lines[3], "pass    INSECURE_STS is off");
    assert!(lines[9].starts_with("manual  only port 8081 is exposed: from outside"));
}
