/// A way in which the host of a chat can spoil an upgrade that the chat has accepted, while the compiler looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers 200 with a body of its own.
    Answered,
    /// It fails: 500.
    Failed,
    /// It makes the 101 a 200.
    Restated,
    /// It gives the 101 a body.
    Embodied,
    /// It waits for the session before it returns the 101.
    Awaited,
    /// It returns the 101 and starts no session.
    Forgotten,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Failed, Self::Restated, Self::Embodied, Self::Awaited, Self::Forgotten];

    /// What it is called in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Restated => "restated",
            Self::Embodied => "embodied",
            Self::Awaited => "awaited",
            Self::Forgotten => "forgotten",
        }
    }

    /// The one with this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name().as_bytes() == name)
    }
}
