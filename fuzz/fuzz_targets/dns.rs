//! What containers and name servers send: every answer is one to the question, and fits.
#![no_main]

use ferry_dns::{Cache, Query, Rcode, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut cache = Cache::default();
    cache.keep(vec![1], data, 10);
    if let Some(kept) = cache.get(&[1], 20) {
        assert_eq!(kept.len(), data.len());
    }
    let Ok(query) = Query::parse(data) else { return };
    assert!(query.name().len() <= 255);
    let address = query.reverse_address().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
    let pair = [Record::Address(address), Record::Pointer(query.name().to_owned())];
    let records: Vec<Record> = pair.iter().cycle().take(200).cloned().collect();
    let mut answer = Vec::new();
    query.answer(Rcode::NoError, &records, query.udp_limit(), &mut answer);
    assert!(answer.len() <= query.udp_limit() && query.is_answered_by(&answer));
    cache.keep(query.cache_key(), &answer, 10);
});
