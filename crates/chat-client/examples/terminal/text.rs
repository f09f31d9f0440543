//! Messages and acts as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_client::{
    ActState, Joined, Mentions, ReceivedAct, ReceivedMessage, Restrict, Restriction, Role, User, What,
};

/// Returns the room that was joined, by its title or its other user.
pub(crate) fn place(joined: &Joined) -> String {
    match (&joined.with, &joined.title) {
        (Some(with), _) => format!("a direct room with {}", clean(with.name())),
        (None, Some(title)) => format!("{} ({})", joined.room, clean(title)),
        (None, None) => joined.room.to_string(),
    }
}

/// Returns the time for which a restriction still holds, empty if it has no end.
pub(crate) fn until(restriction: &Restriction) -> String {
    let Some(end) = restriction.until else { return String::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match Duration::from_millis(end).saturating_sub(now).as_secs() {
        seconds @ 0..120 => format!(" for {seconds} s"),
        seconds @ 120..7_200 => format!(" for {} minutes", seconds / 60),
        seconds => format!(" for {} hours", seconds / 3_600),
    }
}

/// Returns the mark of a message of another user that mentions this one.
pub(crate) fn mention(message: &ReceivedMessage, me: &User) -> &'static str {
    let mentions = message.links.as_ref().and_then(|links| links.mentions.as_ref());
    let is_mine = message.user.id() == me.id();
    match mentions {
        Some(Mentions::Room) if !is_mine => " (for you)",
        Some(Mentions::Users(ids)) if !is_mine && ids.iter().any(|id| id == me.id()) => " (for you)",
        _ => "",
    }
}

/// Returns a message in its present state as one line.
pub(crate) fn message(message: &ReceivedMessage) -> String {
    let mut line = format!("[{}] {}: ", message.seq, clean(message.user.name()));
    let folded = message.folded.as_deref().cloned().unwrap_or_default();
    match &folded.deleted {
        Some(deleted) => {
            line += &format!("(deleted by {}", clean(deleted.by.name()));
            line += &deleted.reason.as_ref().map_or(String::new(), |reason| format!(": {}", clean(reason)));
            line.push(')');
        }
        None => line += &message.text().map_or("(not a text)".to_owned(), |text| clean(&text)),
    }
    if let Some(links) = &message.links {
        line += &links.reply_to.map_or(String::new(), |seq| format!(" (to {seq})"));
        line += &links.thread.map_or(String::new(), |root| format!(" (thread {root})"));
    }
    if folded.edited.is_some() {
        line += " (edited)";
    }
    for reaction in &folded.reactions {
        line += &format!(" {}{}", clean(&reaction.reaction), reaction.count);
    }
    if folded.pinned {
        line += " (pinned)";
    }
    if let Some(replies) = &folded.replies {
        line += &format!(" (replies: {})", replies.count);
    }
    line
}

/// Returns the verb of a change, or `None` if a later one has replaced it.
pub(crate) fn change(what: &What) -> Option<&'static str> {
    Some(match what {
        What::Edited { .. } => "edited",
        What::Deleted { .. } => "deleted",
        What::Reactions { .. } => "reacted to",
        What::Pinned { pinned: true } => "pinned",
        What::Pinned { pinned: false } => "unpinned",
        _ => return None,
    })
}

/// Returns an act as one line.
pub(crate) fn act(act: &ReceivedAct) -> String {
    let by = clean(act.by.name());
    match &act.state {
        ActState::Rules { rules, .. } => match &rules.title {
            Some(title) => format!("{by} set the rules of the room: {}", clean(title)),
            None => format!("{by} set the rules of the room"),
        },
        ActState::Standing { user, role, restriction, .. } => {
            let user = clean(user.name());
            match restriction.as_ref().map(|restriction| (restriction.what, until(restriction))) {
                Some((Restrict::Mute, time)) => format!("{by} muted {user}{time}"),
                Some((Restrict::Ban, time)) => format!("{by} banned {user}{time}"),
                _ => format!("{by} gave {user} the role {}", role_name(*role)),
            }
        }
        _ => format!("{by} changed the room"),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Moderator => "moderator",
        Role::Member => "member",
        _ => "none",
    }
}

/// Returns a text without characters that control a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
