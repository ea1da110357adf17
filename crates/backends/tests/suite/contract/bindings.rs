//! The contract of [`Bindings`].

use std::sync::Arc;

use admission::ports::{Bindings, ZoneStanding};
use testkit::wait::until;

/// One implementation with the means to change its source.
pub(crate) trait Bench {
    fn bindings(&self) -> Arc<dyn Bindings>;
    async fn bind(&self, zone: &str, resource: &str, upstream_url: &str);
    async fn unbind(&self, zone: &str, resource: &str);
}

/// The upstream URL of a binding, or none.
pub(crate) async fn found(bindings: &dyn Bindings, zone: &str, resource: &str) -> Option<String> {
    let binding = bindings.find(zone, resource).await.ok()?;
    assert_eq!(
        (binding.zone_id.as_str(), binding.resource.as_str()),
        (zone, resource)
    );
    Some(binding.upstream_url.as_str().to_owned())
}

/// The source of `bench` holds no binding of the zones `contract-a` and `contract-b`.
pub(crate) async fn bindings_contract(bench: &impl Bench) {
    let bindings = bench.bindings();
    let (zone, other, resource) = ("contract-a", "contract-b", "resource://one");
    assert_eq!(bindings.zone(zone), ZoneStanding::Unknown);
    assert_eq!(found(&*bindings, zone, resource).await, None);

    bench.bind(zone, resource, "https://one.example/base").await;
    until("the binding to be found", async || {
        found(&*bindings, zone, resource).await
    })
    .await;
    assert_eq!(
        found(&*bindings, zone, resource).await.as_deref(),
        Some("https://one.example/base")
    );
    assert_eq!(bindings.zone(zone), ZoneStanding::Known);
    assert_eq!(bindings.zone(other), ZoneStanding::Unknown);
    assert_eq!(found(&*bindings, other, resource).await, None, "another zone");
    assert_eq!(
        found(&*bindings, zone, "resource://two").await,
        None,
        "another resource"
    );

    bench.bind(zone, resource, "https://two.example/").await;
    let reread = bindings.reread(zone, resource).await.unwrap();
    assert_eq!(reread.upstream_url.as_str(), "https://two.example/");
    assert_eq!(
        found(&*bindings, zone, resource).await.as_deref(),
        Some("https://two.example/"),
        "what was read afresh is in memory"
    );

    bench.unbind(zone, resource).await;
    assert!(bindings.reread(zone, resource).await.is_err());
    assert_eq!(found(&*bindings, zone, resource).await, None);
    assert_eq!(bindings.zone(zone), ZoneStanding::Unknown);
}
