//! What comes over D-Bus: reading it is total, within the limits that were told, and what we send is read as it was meant.
#![no_main]

use ferry_dbus::{Call, Kind, Message, Peer, Value};
use libfuzzer_sys::fuzz_target;

const PEER: Peer = Peer { name: "org.example", path: "/org/example" };

fuzz_target!(|data: &[u8]| {
    if let Some((head, rest)) = data.split_first_chunk::<16>() {
        if let Some((length, fields)) = Message::lengths(head) {
            assert!(fields <= 1 << 20 && length <= (1 << 21) + 8);
        }
        // Also where the lengths are wrong.
        for fields in [0, rest.len() / 2, rest.len(), usize::MAX / 2] {
            if let Some(message) = Message::decode(head, rest, fields) {
                assert!(message.arguments().len() <= rest.len() && message.text().len() <= 3 * rest.len());
            }
        }
    }
    let text = String::from_utf8_lossy(data).into_owned();
    let arguments = [Value::Byte(1), Value::text(&text), Value::U64(7), Value::property("p", Value::bytes(data))];
    let call = Call { peer: &PEER, interface: "org.example.I", method: "m", arguments: &arguments };
    let Some(bytes) = call.encode(3) else { return };
    let head: &[u8; 16] = bytes.first_chunk().expect("a head");
    let (length, fields) = Message::lengths(head).expect("our own message");
    assert_eq!(length, bytes.len() - 16);
    let message = Message::decode(head, &bytes[16..], fields).expect("our own message");
    assert_eq!((message.kind, message.member.as_str()), (Kind::Call, "m"));
    assert_eq!(message.arguments(), arguments[..3]);
});
