//! Messages as resolvers send them, and as nobody should.

use super::*;

pub(crate) fn question(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, &[0x1234, RECURSION_DESIRED, 1, 0, 0, u16::from(edns.is_some())]);
    write_name(name, &mut out);
    put(&mut out, &[kind, CLASS_IN]);
    if let Some(size) = edns {
        out.push(0);
        put(&mut out, &[OPT, size, 0, 0, 0]);
    }
    out
}

#[test]
fn a_question_reads() {
    let message = question("Web.Back", crate::kind::A, Some(4096));
    let query = Query::parse(&message).expect("a question");
    assert_eq!((query.id(), query.name(), query.kind()), (0x1234, "web.back", crate::kind::A));
    assert_eq!(query.udp_limit(), 1232);
    let plain = question("web", crate::kind::A, None);
    assert_eq!(Query::parse(&plain).expect("a question").udp_limit(), 512);
}

#[test]
fn addresses_are_answered_under_the_name_that_was_asked_for() {
    let message = question("WeB", crate::kind::A, None);
    let query = Query::parse(&message).expect("a question");
    let mut out = Vec::new();
    let ip = Ipv4Addr::new(10, 0, 0, 7);
    query.answer(Rcode::NoError, &[Record::Address(ip.into())], 512, &mut out);
    let head = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    assert_eq!(out[..12], head);
    assert_eq!(&out[12..17], b"\x03WeB\0");
    assert_eq!(&out[21..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 7]);
    assert!(query.is_answered_by(&out) && is_useful(&out) && !is_truncated(&out));
}

#[test]
fn what_does_not_fit_is_left_out_and_told() {
    let message = question("web", crate::kind::A, Some(512));
    let query = Query::parse(&message).expect("a question");
    let records: Vec<_> =
        (0..200).map(|last| Record::Address(Ipv4Addr::new(10, 0, 0, last).into())).collect();
    let mut out = Vec::new();
    query.answer(Rcode::NoError, &records, query.udp_limit(), &mut out);
    assert!(out.len() <= 512 && is_truncated(&out), "{}", out.len());
    assert_eq!(RecordAt::all(&out).expect("records").len(), usize::from(out[7]) + 1);
}

#[test]
fn reverse_names_read_in_both_families() {
    let address = |name: &str| {
        let message = question(name, crate::kind::PTR, None);
        Query::parse(&message).ok().and_then(|query| query.reverse_address())
    };
    assert_eq!(address("4.3.2.1.in-addr.arpa"), Some(Ipv4Addr::new(1, 2, 3, 4).into()));
    let long = format!("2{}.0.0.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23));
    assert_eq!(address(&long), Some("fd00::2".parse::<IpAddr>().expect("an address")));
    for wrong in ["3.2.1.in-addr.arpa", "x.3.2.1.in-addr.arpa", "1.ip6.arpa", "a.b.ip6.arpa"] {
        assert_eq!(address(wrong), None, "{wrong}");
    }
}

#[test]
fn pointers_answers_and_torn_messages_are_no_questions() {
    let good = question("web", crate::kind::A, Some(1232));
    for end in 0..good.len() {
        assert!(Query::parse(&good[..end]).is_err(), "{end}");
    }
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(Query::parse(&response).map_err(|error| error.id), Err(None));
    let mut pointer = good.clone();
    pointer[12] = 0xc0;
    assert!(Query::parse(&pointer).is_err());
    let mut update = good;
    update[2] = 0x28;
    let refused = Malformed { id: Some(0x1234), rcode: Rcode::NotImplemented };
    assert_eq!(Query::parse(&update), Err(refused));
    assert_eq!(refusal(7, Rcode::FormatError), [0, 7, 0x80, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
}
