//! CRIU's messages (`criu swrk`), as far as a checkpoint needs them. Numbers are those of its `rpc.proto`; what a version of it does not
//! know, it passes over.

use prost::Message;

/// What is asked, and what is answered.
pub(super) const DUMP: i32 = 1;
pub(super) const NOTIFY: i32 = 6;

/// `criu_cg_mode`: as runc, whose `restore` finds what it looks for.
pub(super) const CGROUPS_SOFT: i32 = 3;

/// `criu_network_lock_method`: nothing is done to the network. A lock would stay if CRIU were killed, and the container, which goes on, has
/// no use for one.
pub(super) const NETWORK_UNLOCKED: i32 = 3;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    #[prost(int32, required, tag = "1")]
    pub(super) images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(super) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(super) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(super) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) log_file: Option<String>,
    #[prost(bool, optional, tag = "12")]
    pub(super) notify_scripts: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub(super) work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(super) link_remap: Option<bool>,
    #[prost(bool, optional, tag = "24")]
    pub(super) manage_cgroups: Option<bool>,
    #[prost(bool, optional, tag = "29")]
    pub(super) ext_sharing: Option<bool>,
    #[prost(bool, optional, tag = "30")]
    pub(super) ext_masters: Option<bool>,
    #[prost(int32, optional, tag = "34")]
    pub(super) manage_cgroups_mode: Option<i32>,
    #[prost(uint32, optional, tag = "35")]
    pub(super) ghost_limit: Option<u32>,
    #[prost(string, repeated, tag = "37")]
    pub(super) external: Vec<String>,
    #[prost(uint32, optional, tag = "45")]
    pub(super) timeout: Option<u32>,
    #[prost(bool, optional, tag = "50")]
    pub(super) orphan_pts_master: Option<bool>,
    #[prost(int32, optional, tag = "64")]
    pub(super) network_lock: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<Options>,
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Notify {
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notify>,
    #[prost(string, optional, tag = "9")]
    pub(super) error: Option<String>,
}
