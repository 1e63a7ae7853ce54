//! What a pod's interfaces have carried.

use ferry_engine::ops::{container::Counters, pod::PodFigures};

use super::{Family, Values};

type Network = Family<PodFigures>;

pub(super) static FAMILIES: [Network; 8] = [
    counter("container_network_receive_bytes_total", "Bytes received.", |it| {
        each(it, |link| link.rx.bytes)
    }),
    counter("container_network_receive_errors_total", "Packets that came with an error.", |it| {
        each(it, |link| link.rx.errors)
    }),
    counter(
        "container_network_receive_packets_dropped_total",
        "Packets that came and were dropped.",
        |it| each(it, |link| link.rx.dropped),
    ),
    counter("container_network_receive_packets_total", "Packets received.", |it| {
        each(it, |link| link.rx.packets)
    }),
    counter("container_network_transmit_bytes_total", "Bytes sent.", |it| {
        each(it, |link| link.tx.bytes)
    }),
    counter("container_network_transmit_errors_total", "Packets not sent for an error.", |it| {
        each(it, |link| link.tx.errors)
    }),
    counter(
        "container_network_transmit_packets_dropped_total",
        "Packets dropped instead of being sent.",
        |it| each(it, |link| link.tx.dropped),
    ),
    counter("container_network_transmit_packets_total", "Packets sent.", |it| {
        each(it, |link| link.tx.packets)
    }),
];

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&PodFigures) -> Values,
) -> Network {
    Family::counter(name, help, read).by(&["interface"])
}

fn each(figures: &PodFigures, read: fn(&Counters) -> u64) -> Values {
    figures.networks.iter().map(|(name, link)| (vec![name.clone()], read(link))).collect()
}
