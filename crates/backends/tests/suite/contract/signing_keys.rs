//! The contract of [`SigningKeys`].

use std::time::Duration;

use admission::OwnPlace;
use admission::ports::{KeyRefusal, SigningKeys};
use tokio::time::timeout;

use crate::authority::{Authority, ZONE};

/// How a search ended, in a word. It comes on a connection of its own.
pub(crate) async fn find(keys: &dyn SigningKeys, zone: &str, kid: &str) -> &'static str {
    let own_place = OwnPlace::default();
    let searched = timeout(Duration::from_secs(10), keys.find(zone, kid, &own_place)).await;
    match searched.expect("an end within its time") {
        Ok(_) => "key",
        Err(KeyRefusal::Unknown) => "unknown",
        Err(KeyRefusal::Unavailable(_)) => "unavailable",
    }
}

/// `keys` are those of the authority's STS.
pub(crate) async fn signing_keys_contract(authority: &Authority, keys: &dyn SigningKeys) {
    let sts = authority.stack.sts();
    let kid = sts.kid(ZONE).unwrap();
    assert_eq!(find(keys, ZONE, &kid).await, "key");
    assert_eq!(find(keys, ZONE, "no such key").await, "unknown");
    assert_eq!(find(keys, ZONE, "").await, "unknown");
    assert_eq!(
        find(keys, "no-such-zone", &kid).await,
        "unavailable",
        "an STS without its database says the same"
    );
    // A zone is one parameter, whatever stands in it.
    assert_eq!(find(keys, "zone-dev&zone_id=zone-dev", &kid).await, "unavailable");
    let rotated = sts.rotate_key(ZONE).unwrap();
    assert_eq!(find(keys, ZONE, &rotated).await, "key", "at once");
    assert_eq!(find(keys, ZONE, &kid).await, "key", "still published");
    assert_eq!(find(keys, ZONE, "no such key").await, "unknown");
}
