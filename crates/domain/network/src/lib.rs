//! Networks: IPAM, firewall plan, port publishing
