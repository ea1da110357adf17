//! What the records of an answer say of a name.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// The most aliases on the way to an address. A name behind more has none, as where they lead in a circle.
const MAX_ALIASES: usize = 16;

/// The addresses of a name.
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    /// How long all of them hold.
    pub(super) life: Duration,
}

/// The addresses of the first of the names that has one, in both families. Where one family cannot be had, the other counts.
///
/// The names are absolute, so that both families are asked for under the same name.
pub(super) async fn find(resolver: &TokioResolver, names: Vec<Name>) -> Result<Found, NetError> {
    let mut failed = None;
    for name in names {
        let family = |kind| resolver.lookup(name.clone(), kind);
        let (four, six) = future::join(family(RecordType::A), family(RecordType::AAAA)).await;
        let (mut addresses, mut seconds) = (Vec::new(), u32::MAX);
        for answer in [four, six] {
            match answer {
                Ok(answer) => {
                    let (own, ttl) = addresses_of(&name, answer.answers());
                    addresses.extend(own);
                    seconds = seconds.min(ttl);
                }
                // Of several the one that says more than that there is nothing.
                Err(error) if failed.as_ref().is_none_or(NetError::is_no_records_found) => {
                    failed = Some(error);
                }
                Err(_) => {}
            }
        }
        if !addresses.is_empty() {
            let life = Duration::from_secs(seconds.into());
            return Ok(Found { addresses, life });
        }
    }
    let nothing = Found {
        addresses: Vec::new(),
        life: Duration::ZERO,
    };
    failed.map_or(Ok(nothing), Err)
}

/// The addresses that records give to a name, by way of its aliases, and the shortest TTL on the way.
///
/// What they say of other names is passed over: who is asked for one name could otherwise put an address in its place that
/// another name vouches for. The library gives back the whole section.
fn addresses_of(name: &Name, records: &[Record]) -> (Vec<IpAddr>, u32) {
    let (mut owner, mut ttl, mut steps) = (name, u32::MAX, 0);
    let alias_of = |owner: &Name| {
        records.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if record.name == *owner => Some((target, record.ttl)),
            _ => None,
        })
    };
    while let Some((target, life)) = alias_of(owner) {
        if steps == MAX_ALIASES {
            return (Vec::new(), ttl);
        }
        (owner, ttl, steps) = (target, ttl.min(life), steps + 1);
    }
    let own = records.iter().filter(|record| record.name == *owner);
    let own = own.filter_map(|record| Some((record.data.ip_addr()?, record.ttl)));
    let addresses = own.map(|(address, life)| {
        ttl = ttl.min(life);
        address
    });
    (addresses.collect(), ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn alias(owner: &str, target: &str, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    fn address(owner: &str, last: u8, ttl: u32) -> Record {
        let address = IpAddr::from([192, 0, 2, last]);
        Record::from_rdata(name(owner), ttl, RData::from(address))
    }

    #[test]
    fn records_of_a_name_are_found_along_its_aliases_in_any_order_and_no_others() {
        let records = [
            address("c.", 1, 50),
            alias("b.", "C.", 20),
            address("other.", 2, 1),
            alias("a.", "b.", 30),
            address("c.", 3, 40),
            address("b.", 4, 1),
        ];
        let of = |text: &str| {
            let (addresses, ttl) = addresses_of(&name(text), &records);
            let last = |address: &IpAddr| address.to_string().rsplit('.').next().unwrap().to_owned();
            (addresses.iter().map(last).collect::<Vec<_>>().concat(), ttl)
        };
        assert_eq!(of("A."), ("13".to_owned(), 20));
        assert_eq!(of("c."), ("13".to_owned(), 40));
        assert_eq!(of("other."), ("2".to_owned(), 1));
        assert_eq!(of("d.").0, "");
        let circle = [alias("a.", "b.", 1), alias("b.", "a.", 1), address("c.", 1, 1)];
        assert!(addresses_of(&name("a."), &circle).0.is_empty());
        // 17 aliases on the way from the first, 16 from the second.
        let step = |number: usize| format!("h{number}.");
        let mut chain: Vec<_> = (0..=MAX_ALIASES)
            .map(|number| alias(&step(number), &step(number + 1), 1))
            .collect();
        chain.push(address(&step(MAX_ALIASES + 1), 1, 1));
        let found = [0, 1].map(|first| addresses_of(&name(&step(first)), &chain).0.len());
        assert_eq!(found, [0, 1]);
    }
}
