//! The waist: one file per verb; boot and recovery; events
