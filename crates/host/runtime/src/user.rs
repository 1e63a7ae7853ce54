//! Users and groups from the container's own files. No NSS: the host's libraries know nothing of the container's users.

use std::path::Path;

use ferry_sys::{Errno, root::InRoot};

use crate::error::{Failure, Outcome};

/// A hostile image should not make us read for ever.
const MAX_FILE: usize = 16 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Docker's bound on ids.
const MAX_ID: u64 = i32::MAX as u64;

struct Account<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _comment = fields.next();
        Some(Account { name, uid, gid, home: fields.next().unwrap_or("") })
    })
}

struct Group<'t> {
    name: &'t str,
    gid: u32,
    members: &'t str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

fn text(root: &InRoot, path: &str) -> Outcome<String> {
    match root.read(Path::new(path), MAX_FILE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // Images without users are common; a directory there is as good as nothing.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL | Errno::LOOP) => Ok(String::new()),
        Err(errno) => Err(Failure::errno(format!("unable to find user: open {path}"), errno)),
    }
}

/// Resolves `name`, `uid`, `name:group`, `uid:gid`, … as Docker does (moby/sys/user, GetExecUser). `+group` at the end, any
/// number of times, adds groups by name or number (`--group-add`); a `+` without a group says that the user has no others.
pub(crate) fn resolve(root: &InRoot, wanted: &str, extra: &[u32]) -> Outcome<Identity> {
    let mut parts = wanted.split('+');
    let wanted = parts.next().unwrap_or_default();
    let (added, strict): (Vec<&str>, Vec<&str>) = parts.partition(|group| !group.is_empty());
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let passwd = text(root, "/etc/passwd")?;
    let group_file = text(root, "/etc/group")?;
    let group = group.filter(|group| !group.is_empty());
    let mut identity = from_text(&passwd, &group_file, user, group, extra)?;
    if !strict.is_empty() {
        identity.groups = extra.to_vec();
    }
    for name in added {
        identity.groups.push(group_id(&group_file, name)?);
    }
    // As dockerd since CVE-2022-36109: a program that is set-group-id must not lose this group by changing to another.
    identity.groups.push(identity.gid);
    identity.groups.sort_unstable();
    identity.groups.dedup();
    Ok(identity)
}

/// The user and group that a container's `user[:group]` means, by the files in its root; else why it means none.
pub fn look_up_user(root: &InRoot, wanted: &str) -> Result<(u32, u32), String> {
    resolve(root, wanted, &[])
        .map(|found| (found.uid, found.gid))
        .map_err(|failure| failure.message)
}

/// The user and group that BuildKit takes for a file's owner: a number is itself, and the group, too, where none is told; `root` and
/// nothing are 0, whatever the files say; a name that nobody has is 0, or leaves the group to the user.
///
/// # Errors
/// The container's files cannot be read.
pub fn look_up_names(root: &InRoot, user: &str, group: Option<&str>) -> Result<(u32, u32), String> {
    let file = |path: &str| text(root, path).map_err(|failure| failure.message);
    let (uid, own) = match number_of(user) {
        Some(uid) => (uid, uid),
        None => from_file(&file("/etc/passwd")?, user),
    };
    let gid = match group.map(|group| (group, number_of(group))) {
        None => own,
        Some((_, Some(gid))) => gid,
        Some((name, None)) => {
            let text = file("/etc/group")?;
            groups(&text).find(|group| group.name == name).map_or(own, |group| group.gid)
        }
    };
    Ok((uid, gid))
}

fn number_of(name: &str) -> Option<u32> {
    if matches!(name, "" | "root") {
        return Some(0);
    }
    name.parse::<u32>().ok().filter(|id| u64::from(*id) <= MAX_ID)
}

fn from_file(passwd: &str, name: &str) -> (u32, u32) {
    accounts(passwd).find(|one| one.name == name).map_or((0, 0), |one| (one.uid, one.gid))
}

fn group_id(group_file: &str, name: &str) -> Outcome<u32> {
    let known = groups(group_file).find(|group| group.name == name);
    match (known, name.parse::<u64>().ok()) {
        (Some(known), _) => Ok(known.gid),
        (None, Some(gid)) => in_range(gid),
        (None, None) => Err(Failure::new(format!(
            "unable to find group {name}: no matching entries in group file"
        ))),
    }
}

fn from_text(
    passwd: &str,
    group_file: &str,
    user: &str,
    group: Option<&str>,
    extra: &[u32],
) -> Outcome<Identity> {
    let user = if user.is_empty() { "0" } else { user };
    let number = |word: &str| word.parse::<u64>().ok();
    let by_name = accounts(passwd).find(|account| account.name == user);
    let account = by_name.or_else(|| {
        let uid = number(user)?;
        accounts(passwd).find(|account| u64::from(account.uid) == uid)
    });
    let (uid, gid) = match (&account, number(user)) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (in_range(uid)?, 0),
        (None, None) => {
            let words = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(Failure::new(words));
        }
    };
    let gid = match group {
        None => gid,
        Some(name) => group_id(group_file, name)?,
    };
    let mut all: Vec<u32> = Vec::new();
    // Named explicitly, a group stands alone; else the user's groups come along.
    if group.is_none()
        && let Some(account) = &account
    {
        let member = |g: &Group<'_>| g.members.split(',').any(|name| name == account.name);
        all.extend(groups(group_file).filter(member).map(|g| g.gid));
    }
    all.extend_from_slice(extra);
    all.dedup();
    Ok(Identity { uid, gid, groups: all })
}

fn in_range(id: u64) -> Outcome<u32> {
    match u32::try_from(id) {
        Ok(id) if u64::from(id) <= MAX_ID => Ok(id),
        _ => Err(Failure::new("uids and gids must be in range 0-2147483647")),
    }
}

/// The home directory of a user id, `/` if the container knows none.
pub(crate) fn home(root: &InRoot, uid: u32) -> String {
    let passwd = text(root, "/etc/passwd").unwrap_or_default();
    let account = accounts(&passwd).find(|account| account.uid == uid);
    match account {
        Some(account) if !account.home.is_empty() => account.home.to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:www:/srv:/bin/false\n\
                          1000:x:77:77::/odd:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,other\nweb:x:34:\nlog:x:9:other,web\n";

    fn who(user: &str, group: Option<&str>) -> Outcome<(u32, u32, Vec<u32>)> {
        let identity = from_text(PASSWD, GROUP, user, group, &[])?;
        Ok((identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn names_and_numbers_are_found_as_docker_finds_them() {
        assert_eq!(who("web", None), Ok((33, 34, vec![4, 9])));
        assert_eq!(who("33", None), Ok((33, 34, vec![4, 9])));
        assert_eq!(who("", None), Ok((0, 0, vec![])));
        assert_eq!(who("web", Some("adm")), Ok((33, 4, vec![])));
        assert_eq!(who("web", Some("123")), Ok((33, 123, vec![])));
        assert_eq!(who("555", None), Ok((555, 0, vec![])));
        assert_eq!(who("1000", None), Ok((77, 77, vec![])), "a name wins over a number");
    }

    #[test]
    fn owners_of_files_are_found_as_buildkit_finds_them() {
        let place = std::env::temp_dir().join(format!("ferry-owners-{}", std::process::id()));
        std::fs::create_dir_all(place.join("etc")).unwrap();
        let root = InRoot::open(&place).unwrap();
        assert_eq!(look_up_names(&root, "web", Some("root")), Ok((0, 0)), "nobody is known");
        assert_eq!(look_up_names(&root, "7", Some("root")), Ok((7, 0)));
        std::fs::write(place.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(place.join("etc/group"), GROUP).unwrap();
        let found = |user, group| look_up_names(&root, user, group).unwrap();
        assert_eq!(found("web", None), (33, 34));
        assert_eq!(found("web", Some("adm")), (33, 4));
        assert_eq!(found("web", Some("nope")), (33, 34));
        assert_eq!(found("web", Some("")), (33, 0));
        assert_eq!(found("nope", Some("adm")), (0, 4));
        assert_eq!(found("1000", None), (1000, 1000), "a number is never a name");
        assert_eq!(found("7", Some("8")), (7, 8));
        assert_eq!(found("4294967295", None), (0, 0));
        std::fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn unknown_names_are_told_in_dockers_words() {
        let message = |result: Outcome<_>| result.unwrap_err().message;
        assert_eq!(
            message(who("nope", None)),
            "unable to find user nope: no matching entries in passwd file"
        );
        assert_eq!(
            message(who("web", Some("nope"))),
            "unable to find group nope: no matching entries in group file"
        );
        assert_eq!(message(who("4294967295", None)), "uids and gids must be in range 0-2147483647");
    }
}
