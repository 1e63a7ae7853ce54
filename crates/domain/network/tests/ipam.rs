//! Random sequences of leases and returns, checked against a model; always the same ones.

mod ipam_model;

#[test]
fn leases_are_what_the_model_says() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = move || {
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..600).map(|_| byte()).collect();
        ipam_model::check(&bytes);
    }
}
