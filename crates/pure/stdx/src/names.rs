//! Made-up container names: an adjective and a scientist, as Docker's users expect.

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "ancient", "autumn", "bold", "brave", "bright", "brisk", "calm", "careful",
    "cheerful", "clever", "cosmic", "crisp", "curious", "daring", "deft", "eager", "early", "fair",
    "fearless", "fleet", "fluent", "fond", "frank", "gentle", "gifted", "glad", "golden", "grand",
    "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "lucid", "lucky",
    "mellow", "merry", "mighty", "modest", "nimble", "noble", "patient", "placid", "plucky",
    "proud", "quick", "quiet", "rapid", "ready", "serene", "sharp", "silent", "steady", "sunny",
    "swift", "tender", "vivid", "warm", "wise",
];

const SURNAMES: [&str; 64] = [
    "abel",
    "ampere",
    "archimedes",
    "avogadro",
    "babbage",
    "bell",
    "bernoulli",
    "bohr",
    "boltzmann",
    "boole",
    "bose",
    "boyle",
    "brahe",
    "cantor",
    "carson",
    "celsius",
    "chandrasekhar",
    "copernicus",
    "curie",
    "darwin",
    "davinci",
    "dijkstra",
    "dirac",
    "einstein",
    "elion",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "galileo",
    "gauss",
    "germain",
    "goodall",
    "hamilton",
    "hawking",
    "hertz",
    "hodgkin",
    "hopper",
    "hypatia",
    "johnson",
    "kepler",
    "khorana",
    "lamarr",
    "leibniz",
    "lovelace",
    "maxwell",
    "mcclintock",
    "meitner",
    "mendel",
    "newton",
    "noether",
    "pascal",
    "pasteur",
    "ramanujan",
    "ride",
    "shannon",
    "tesla",
    "turing",
    "volta",
    "yonath",
];

/// The name that belongs to a random number; `attempt` above 0 (the name was taken) adds a digit.
pub fn make_up(random: u64, attempt: u32) -> String {
    let pick = |list: &[&'static str; 64], bits: u64| list[(bits & 63) as usize];
    let name = format!("{}_{}", pick(&ADJECTIVES, random), pick(&SURNAMES, random >> 6));
    if attempt == 0 { name } else { format!("{name}{}", random >> 12 & 0xfff) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_and_a_number_when_they_are_taken() {
        assert_eq!(make_up(0, 0), "able_abel");
        assert_eq!(make_up(63 | 63 << 6, 0), "wise_yonath");
        assert_eq!(make_up(7 << 12, 1), "able_abel7");
    }
}
