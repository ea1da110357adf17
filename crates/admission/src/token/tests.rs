//! Gates 6 to 9 over tables of tokens: each row is one fault on an otherwise good mandate.

mod claims;
mod header;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use testkit::mint::{Breaks, Forgery, Key, Mandate, high_s_twin};

use super::*;
use crate::Denial;
use crate::binding::Binding;
use crate::limits::{Limits, ReusableUses};
use crate::moment::Moment;
use crate::ports::{Bindings, BoxFuture, Cause, KeyRefusal, NotBound, SigningKeys, ZoneStanding};
use crate::received::Head;

const NOW: u64 = 1_790_000_000;
const ZONE: &str = "zone-1";

/// A zone with one key, and what was asked for.
struct World {
    key: Key,
    limits: Limits,
    now: Duration,
    once: VerifiedOnce,
    asked: Mutex<Vec<String>>,
}

impl World {
    fn new() -> Self {
        Self {
            key: Key::generate("key-1"),
            limits: Limits {
                max_request_bytes: 0,
                preflight_window: Duration::from_secs(35),
                reusable_uses: ReusableUses::new(["session", "ambient"].map(str::to_owned)),
                upgrades: crate::Upgrades::default(),
            },
            now: Duration::from_secs(NOW),
            once: VerifiedOnce::default(),
            asked: Mutex::default(),
        }
    }

    /// Gates 1 to 9; the `jti` of a single-use mandate that passes.
    fn judge(&self, token: &str) -> Result<Option<String>, Denial> {
        let request = http::Request::builder()
            .header("authorization", format!("Bearer {token}"))
            .header("x-caracal-resource", "resource://r");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let place = crate::OwnPlace::default();
        let head = Head {
            parts: &head,
            exchange_id: "x",
            own_place: &place,
            subprotocols: &crate::subprotocols::NONE,
        };
        let now = Moment {
            unix: self.now,
            monotonic: Duration::ZERO,
        };
        let scratch = &mut Scratch::default();
        crate::preflight::check(head, &self.limits, |_| ())
            .and_then(|request| parse(request, scratch, &self.limits, now))
            .and_then(|request| zone::check(request, self))
            .and_then(|request| ready(signature::verify(request, self, &self.once)))
            .map(|verified| verified.claims().single_use().map(str::to_owned))
            .map_err(|refused| refused.denial)
    }

    fn verifying_key(&self) -> VerifyingKey {
        let point = self.key.public_point();
        VerifyingKey::new(point[1..33].try_into().unwrap(), point[33..].try_into().unwrap()).unwrap()
    }

    fn judge_mandate(&self, mandate: &Mandate) -> Result<(), Denial> {
        self.judge(&mandate.sign(&self.key)).map(drop)
    }

    /// The keys asked for since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl SigningKeys for World {
    fn find<'a>(
        &'a self,
        zone: &'a str,
        kid: &'a str,
        _: &'a crate::OwnPlace,
    ) -> BoxFuture<'a, Result<Arc<VerifyingKey>, KeyRefusal>> {
        assert_eq!(zone, ZONE, "only known zones are asked about");
        self.asked.lock().unwrap().push(kid.to_owned());
        let found = (kid == self.key.kid()).then(|| Arc::new(self.verifying_key()));
        Box::pin(async { found.ok_or(KeyRefusal::Unknown) })
    }
}

impl Bindings for World {
    fn zone(&self, zone: &str) -> ZoneStanding {
        if zone == ZONE {
            ZoneStanding::Known
        } else {
            ZoneStanding::Unknown
        }
    }

    fn find<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        Box::pin(async { Err(NotBound(Cause::new("not asked for"))) })
    }

    fn reread<'a>(
        &'a self,
        zone: &'a str,
        resource: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        Bindings::find(self, zone, resource)
    }
}

/// The output of a future that has nothing to wait for.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn token_good_mandates_pass() {
    let world = World::new();
    let single = Mandate::single_use(ZONE, NOW);
    assert_eq!(
        world.judge(&single.sign(&world.key)),
        Ok(Some(single.text("jti").to_owned()))
    );
    assert_eq!(world.judge_mandate(&Mandate::session(ZONE, NOW)), Ok(()));
    assert_eq!(world.asked(), ["key-1", "key-1"]);
}

#[test]
fn token_every_forgery_is_refused_by_the_check_it_breaks() {
    let world = World::new();
    for forgery in Forgery::ALL {
        let token = forgery.forge(&Mandate::single_use(ZONE, NOW), &world.key);
        let verdict = world.judge(&token);
        match forgery.breaks() {
            Breaks::Form => {
                assert_eq!(verdict, Err(Denial::MalformedToken), "{forgery:?}");
                assert_eq!(
                    world.asked(),
                    [""; 0],
                    "{forgery:?}: no key is looked up for what is no mandate"
                );
            }
            Breaks::Signature | Breaks::Either => {
                assert_eq!(verdict, Err(Denial::BadSignature), "{forgery:?}");
                assert!(world.asked().len() <= 1, "{forgery:?}");
            }
        }
    }
}

#[test]
fn token_high_s_twin_verifies_and_keeps_its_jti() {
    // ECDSA is malleable: the twin is as good, so only the `jti` makes a mandate single-use.
    let world = World::new();
    let mandate = Mandate::single_use(ZONE, NOW);
    let twin = high_s_twin(&mandate.sign(&world.key));
    assert_eq!(world.judge(&twin), Ok(Some(mandate.text("jti").to_owned())));
}

#[test]
fn token_zone_ids_are_of_their_form_and_known() {
    let world = World::new();
    let longest = "z".repeat(128);
    for (zone, denial) in [
        ("a&zone_id=b", Denial::MissingZone),
        ("../zone-1", Denial::MissingZone),
        ("", Denial::MissingZone),
        (" zone-1", Denial::MissingZone),
        ("zone-1\n", Denial::MissingZone),
        ("zöne", Denial::MissingZone),
        ("zone/1", Denial::MissingZone),
        ("*", Denial::MissingZone),
        (&format!("{longest}z"), Denial::MissingZone),
        (&longest, Denial::UnknownZone),
        ("A.b_c:d-9", Denial::UnknownZone),
        ("ZONE-1", Denial::UnknownZone),
    ] {
        assert_eq!(
            world.judge_mandate(&Mandate::single_use(zone, NOW)),
            Err(denial),
            "{zone:?}"
        );
    }
    let without = Mandate::single_use(ZONE, NOW).without("zone_id");
    assert_eq!(world.judge_mandate(&without), Err(Denial::MissingZone));
    let number = Mandate::single_use(ZONE, NOW).claim("zone_id", 1);
    assert_eq!(world.judge_mandate(&number), Err(Denial::MalformedToken));
    assert_eq!(world.asked(), [""; 0], "nothing is fetched for any of them");
}

proptest! {
    /// Arbitrary text as a token is refused and never panics.
    #[test]
    fn token_parsing_is_total(token in "[A-Za-z0-9_.=+/ -]{0,200}") {
        prop_assert!(World::new().judge(&token).is_err());
    }

    /// So are three parts of arbitrary bytes.
    #[test]
    fn token_parts_of_arbitrary_bytes_are_refused(parts in prop::array::uniform3(prop::collection::vec(any::<u8>(), 0..100))) {
        let token = parts.map(|part| testkit::mint::base64url(&part)).join(".");
        prop_assert_eq!(World::new().judge(&token), Err(Denial::MalformedToken));
    }

    /// One changed byte anywhere in a mandate refuses it.
    #[test]
    fn token_with_one_changed_letter_is_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let world = World::new();
        let good = Mandate::single_use(ZONE, NOW).sign(&world.key);
        let mut changed = good.clone();
        let at = at.index(good.len());
        changed.replace_range(at..=at, &letter);
        prop_assume!(changed != good);
        prop_assert!(world.judge(&changed).is_err());
    }
}

#[test]
fn token_that_is_remembered_is_not_verified_again_and_vouches_for_no_other() {
    let mut world = World::new();
    let mandate = Mandate::session(ZONE, NOW);
    let token = mandate.sign(&world.key);
    assert_eq!(world.judge(&token), Ok(None));
    assert!(world.once.remembers(1), "a reusable mandate");
    assert_eq!(world.judge(&token), Ok(None));
    assert_eq!(
        world.asked(),
        ["key-1", "key-1"],
        "the key is looked up each time"
    );
    for forgery in Forgery::ALL {
        // What breaks the form alone may be fine for a mandate of this class.
        if !matches!(forgery.breaks(), Breaks::Form) {
            let forged = forgery.forge(&mandate, &world.key);
            assert!(world.judge(&forged).is_err(), "{forgery:?}");
        }
    }
    for at in 0..token.len() {
        let mut changed = token.clone();
        changed.replace_range(at..=at, if &token[at..=at] == "A" { "B" } else { "A" });
        assert!(world.judge(&changed).is_err(), "{at}");
    }
    world.now += Duration::from_secs(100_000);
    assert_eq!(world.judge(&token), Err(Denial::Expiring));
    world.now -= Duration::from_secs(100_000);
    assert_eq!(world.judge_mandate(&Mandate::single_use(ZONE, NOW)), Ok(()));
    assert!(world.once.remembers(1), "none of these");

    // What is remembered is believed: the curve is not asked again.
    let forged = Forgery::TamperedClaims.forge(&mandate, &world.key);
    let scratch = &mut Scratch::default();
    let (jws, _) = jws::parse(&forged, scratch).unwrap();
    let digest = verified_once::MandateDigest::of(&jws, &world.verifying_key());
    world.once.remember(digest);
    assert_eq!(world.judge(&forged), Ok(None));
    // Another key under the same name: what the one before signed is worth nothing.
    world.key = Key::generate("key-1");
    for signed_before in [&token, &forged] {
        assert_eq!(world.judge(signed_before), Err(Denial::BadSignature));
    }
}
