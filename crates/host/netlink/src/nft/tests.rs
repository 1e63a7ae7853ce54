//! What is written is what is read.

use super::*;

fn bytes_of(request: &Request, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.finish(1, 0, &mut bytes);
    // The kernel answers with the kind of the message that made the object.
    bytes[4..6].copy_from_slice(&(SUBSYSTEM << 8 | kind).to_ne_bytes());
    bytes
}

#[test]
fn elements_come_back_as_they_were_sent() {
    let elements = vec![
        Element { key: vec![0, 80], value: vec![1; 8], ..Element::default() },
        Element {
            key: vec![10, 0, 0, 0],
            end: true,
            comment: "ferry0".into(),
            ..Element::default()
        },
    ];
    let mut batch = Batch::new(Ip::V4);
    batch.add_elements("t", "s", &elements);
    let bytes = bytes_of(&batch.requests[0], message::NEWSETELEM);
    let read: Vec<_> =
        crate::wire::messages(&bytes).flat_map(|message| decode_elements(&message)).collect();
    assert_eq!(read, elements);
}

#[test]
fn many_elements_are_spread_over_messages() {
    let element = |port: u16| Element { key: port.to_be_bytes().into(), ..Element::default() };
    let elements: Vec<_> = (1..=1000).map(element).collect();
    let mut batch = Batch::new(Ip::V4);
    batch.add_elements("t", "s", &elements);
    assert_eq!(batch.requests.len(), 5);
    assert!(batch.requests.iter().all(|request| !request.overflows()));
}

#[test]
fn a_chain_tells_its_hook_and_policy() {
    let mut batch = Batch::new(Ip::V4);
    batch.add_chain("t", &Chain { name: "forward", base: Some(("filter", Hook::Forward, -5)) });
    batch.add_chain("t", &Chain { name: "plain", base: None });
    let read = |index: usize| {
        let bytes = bytes_of(&batch.requests[index], message::NEWCHAIN);
        crate::wire::messages(&bytes).find_map(|message| decode_chain(&message))
    };
    let expected = HookedChain {
        family: 2,
        table: "t".into(),
        name: "forward".into(),
        hook: Hook::Forward,
        drops: false,
    };
    assert_eq!(read(0), Some(expected));
    assert_eq!(read(1), None);
}

#[test]
fn long_comments_are_cut_between_characters() {
    let text = "ö".repeat(100);
    let read = comment_text(&comment(&text)).expect("a comment");
    assert_eq!(read, "ö".repeat(64));
}
