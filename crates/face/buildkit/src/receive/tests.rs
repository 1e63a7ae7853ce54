//! Trees as an honest client sends them, and as no honest client does.

use super::*;

fn stat(path: &str, mode: u32) -> Stat {
    Stat { path: path.to_owned(), mode, ..Stat::default() }
}

fn file(path: &str, size: i64) -> Stat {
    Stat { size, ..stat(path, 0o644) }
}

fn link(path: &str, to: &str) -> Stat {
    Stat { linkname: to.to_owned(), ..stat(path, 0o644) }
}

fn directory(path: &str) -> Stat {
    stat(path, go::DIRECTORY | 0o755)
}

fn told_of(stat: Stat) -> Packet {
    Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat), ..Packet::default() }
}

fn listed(stats: Vec<Stat>) -> Result<usize, ReceiveError> {
    let mut listing = Listing::default();
    for stat in stats {
        listing.take(told_of(stat))?;
    }
    Ok(listing.entries.len())
}

#[test]
fn trees_are_told_in_order() {
    let tree = vec![
        file("a", 1),
        directory("b"),
        file("b/a", 1),
        directory("b/c"),
        file("b/c/z", 0),
        file("b-c", 0),
        link("c", "b/a"),
    ];
    assert_eq!(listed(tree), Ok(7));
}

#[test]
fn nothing_leads_out_of_the_tree() {
    for path in
        ["", ".", "..", "/etc/passwd", "a//b", "a/../b", "../a", "a/..", "a/", "a\0b", "./a"]
    {
        let refused = listed(vec![directory("a"), file(path, 1)]);
        assert!(matches!(refused, Err(ReceiveError::Path(_))), "{path:?}: {refused:?}");
    }
    let long = "a".repeat(5000);
    assert!(matches!(listed(vec![file(&long, 1)]), Err(ReceiveError::Path(_))));
}

#[test]
fn a_path_comes_once_and_after_its_parent() {
    let order = |stats| matches!(listed(stats), Err(ReceiveError::Order(_)));
    assert!(order(vec![file("b", 1), file("a", 1)]));
    assert!(order(vec![file("a", 1), file("a", 1)]));
    assert!(order(vec![file("a/b", 1)]));
    // What is below a file or behind a link would be somewhere else.
    assert!(order(vec![file("a", 1), file("a/b", 1)]));
    assert!(order(vec![stat("a", go::SYMLINK | 0o777), file("a/b", 1)]));
    assert!(order(vec![directory("a"), file("a/b", 1), directory("c"), file("a/c", 1)]));
}

#[test]
fn hard_links_lead_to_files_before_them() {
    let refused = |stats| matches!(listed(stats), Err(ReceiveError::Link(..)));
    assert!(refused(vec![link("a", "b"), file("b", 1)]));
    assert!(refused(vec![directory("a"), link("b", "a")]));
    assert!(matches!(listed(vec![link("a", "../../etc/shadow")]), Err(ReceiveError::Path(_))));
}

/// A client that sends a tree; what it is asked for it sends in the order of `answers`.
struct Client {
    packets: VecDeque<Packet>,
    contents: BTreeMap<u32, Vec<Vec<u8>>>,
    asked: Vec<u32>,
    backwards: bool,
}

impl Client {
    fn new(stats: Vec<Stat>, contents: &[(u32, &[&[u8]])]) -> Client {
        let mut packets: VecDeque<Packet> = stats.into_iter().map(told_of).collect();
        packets.push_back(Packet::default());
        let contents = contents
            .iter()
            .map(|(id, pieces)| (*id, pieces.iter().map(|piece| piece.to_vec()).collect()))
            .collect();
        Client { packets, contents, asked: Vec::new(), backwards: false }
    }

    fn data(id: u32, data: Vec<u8>) -> Packet {
        let kind = PacketType::PacketData.into();
        Packet { r#type: kind, id, data: data.into(), ..Packet::default() }
    }
}

impl Packets for Client {
    async fn next(&mut self) -> Result<Packet, ReceiveError> {
        if let Some(packet) = self.packets.pop_front() {
            return Ok(packet);
        }
        let asked = match self.backwards {
            true => self.asked.pop(),
            false => (!self.asked.is_empty()).then(|| self.asked.remove(0)),
        };
        let id = asked.ok_or_else(|| ReceiveError::Connection("silence".to_owned()))?;
        for piece in self.contents.remove(&id).unwrap_or_default() {
            self.packets.push_back(Client::data(id, piece));
        }
        self.packets.push_back(Client::data(id, Vec::new()));
        self.packets.pop_front().ok_or(ReceiveError::Unwanted)
    }

    async fn send(&mut self, packet: Packet) -> Result<(), ReceiveError> {
        match packet.r#type() {
            PacketType::PacketReq => self.asked.push(packet.id),
            _ => self.packets.push_back(packet),
        }
        Ok(())
    }
}

async fn tar_of(mut client: Client) -> Result<Vec<(String, Vec<u8>)>, ReceiveError> {
    let mut out = Vec::new();
    receive(&mut client, &mut out, |_| {}).await?;
    Ok(crate::tar::files(&out))
}

#[tokio::test]
async fn files_come_in_their_order_however_they_are_sent() {
    let long = "d/".to_owned() + &"n".repeat(150);
    let tree = || vec![file("a", 2), directory("d"), file(&long, 3), file("e", 0), file("f", 4)];
    let contents: &[(u32, &[&[u8]])] = &[(0, &[b"1", b"2"]), (2, &[b"345"]), (4, &[b"6789"])];
    let expected: Vec<(String, Vec<u8>)> =
        [("a", "12"), (long.as_str(), "345"), ("e", ""), ("f", "6789")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into();
    for backwards in [false, true] {
        let client = Client { backwards, ..Client::new(tree(), contents) };
        assert_eq!(tar_of(client).await, Ok(expected.clone()));
    }
}

#[tokio::test]
async fn files_that_change_meanwhile_are_what_they_are_now() {
    let tree = vec![file("grown", 2), file("shorter", 9)];
    let client = Client::new(tree, &[(0, &[b"123"]), (1, &[b"1"])]);
    let expected =
        [("grown", "123"), ("shorter", "1")].map(|(name, text)| (name.to_owned(), text.into()));
    assert_eq!(tar_of(client).await, Ok(expected.to_vec()));
}

#[tokio::test]
async fn large_files_pass_through_and_must_not_become_shorter() {
    let size = 9 << 20;
    let piece = vec![7; 1 << 20];
    let pieces = |count: usize| vec![piece.as_slice(); count];
    let tree = || vec![file("large", size), file("small", 1)];
    let whole = Client::new(tree(), &[(0, &pieces(10)), (1, &[b"x"])]);
    let files = tar_of(whole).await.expect("arrives");
    assert_eq!(files[0].1.len(), 9 << 20);
    assert_eq!(files[1].1, b"x");
    let short = Client::new(tree(), &[(0, &pieces(8)), (1, &[b"x"])]);
    assert_eq!(tar_of(short).await, Err(ReceiveError::Shortened("large".to_owned())));
}

#[tokio::test]
async fn what_nobody_asked_for_is_refused() {
    let mut client = Client::new(vec![file("a", 1)], &[(0, &[b"1"])]);
    client.packets.push_back(Client::data(7, vec![1]));
    assert_eq!(tar_of(client).await, Err(ReceiveError::Unasked("a file")));
    let mut early = Client::new(vec![file("a", 1)], &[]);
    early.packets.push_front(Client::data(0, vec![1]));
    assert_eq!(tar_of(early).await, Err(ReceiveError::Unasked("a file")));
    let told = Packet {
        r#type: PacketType::PacketErr.into(),
        data: bytes::Bytes::from_static(b"no access"),
        ..Packet::default()
    };
    let mut failing = Client::new(vec![], &[]);
    failing.packets.push_front(told);
    assert_eq!(tar_of(failing).await, Err(ReceiveError::Sender("no access".to_owned())));
}
