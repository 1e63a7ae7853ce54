//! What containers and name servers send: every answer is one to the question, and fits; what a server says is kept as it is, and only
//! gets older.
#![no_main]

use ferry_dns::{Cache, Query, Rcode, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut cache = Cache::default();
    cache.keep(vec![1], data, 10);
    if let Some(kept) = cache.get(&[1], 20) {
        assert_eq!(kept.len(), data.len());
    }
    reply_of_a_server(data);
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

/// A question of ours for `a.bc`, and a server that repeats it and says anything behind: the first bytes are its flags and counts.
fn reply_of_a_server(data: &[u8]) {
    const QUESTION: [u8; 22] = *b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01";
    let query = Query::parse(&QUESTION).expect("a question");
    let Some((head, records)) = data.split_first_chunk::<6>() else { return };
    let mut reply = QUESTION.to_vec();
    (reply[2], reply[3]) = (head[0] | 0x80, head[1]);
    (reply[7], reply[9], reply[11]) = (head[2], head[3], head[4]);
    reply.extend_from_slice(records);
    // Some are cut short, or are about something else.
    match head[5] {
        cut @ 1..=40 => reply.truncate(usize::from(cut)),
        other @ 41..=50 => reply[12] = other,
        _ => {}
    }
    let is_ours = query.is_answered_by(&reply);
    assert_eq!(is_ours, reply.len() >= QUESTION.len() && reply[12] == 1, "{reply:?}");
    let mut cache = Cache::default();
    cache.keep(query.cache_key(), &reply, 100);
    let Some(first) = cache.get(&query.cache_key(), 100) else { return };
    // Never an answer that was cut, or is not one; times are at most what was said, all else is what was said.
    assert!(reply[2] & 2 == 0 && matches!(reply[3] & 0xf, 0 | 3));
    assert_eq!(first, reply);
    let later = cache.get(&query.cache_key(), 101).map(|later| (first.len(), later));
    if let Some((length, later)) = later {
        assert_eq!(later.len(), length);
        assert_eq!(later[..QUESTION.len()], first[..QUESTION.len()]);
    }
    assert_eq!(cache.get(&query.cache_key(), 400), None, "nothing is true for longer");
}
