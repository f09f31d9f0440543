/// Returns a time in milliseconds since the Unix epoch in the form that the server reads (RFC 3339, in UTC).
pub(crate) fn rfc3339(millis: u64) -> String {
    // The years are those of the calendar from March to February, so that a leap day is the last day of its year
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let days = millis / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = millis % 86_400_000;
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1_000)
}

/// Reads a time of the server (RFC 3339, in UTC), which may have any number of digits after the second. Returns the
/// milliseconds since the Unix epoch.
pub(super) fn millis(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let numbers = |text: &str, separator| -> Option<[u64; 3]> {
        let mut numbers = text.split(separator).map(|number| number.parse().ok());
        let three = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(three)
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(clock, ':')?);
    if !(1970..10_000).contains(&year)
        || !(1..=12).contains(&month)
        || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let rest: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_798_761_599_001, "2026-12-31T23:59:59.001Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
    }

    #[test]
    fn a_time_of_the_server_is_read_with_any_number_of_digits() {
        for at in [0, 951_782_400_000, 1_709_251_199_999, 1_767_225_600_000, 1_798_761_599_001] {
            assert_eq!(millis(&rfc3339(at)), Some(at));
        }
        for (text, at) in [
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
            ("2024-02-29T23:59:59.5Z", 1_709_251_199_500),
            ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999),
        ] {
            assert_eq!(millis(text), Some(at), "{text}");
        }
        for text in ["", "0001-01-01T00:00:00Z", "2024-02-29T23:59:59", "2024-02-29", "2024-00-29T23:59:59Z"]
        {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
