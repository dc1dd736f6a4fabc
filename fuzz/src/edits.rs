//! Small changes to a text that is known to be good: what an attacker does to a token that was really issued.

/// Applies edits, separated by spaces: `5^1` flips bits of the fifth byte, `5-3` takes three bytes away, `5+abc` puts text in,
/// `5=abc` writes over, `5~9` exchanges two bytes. Positions wrap around; what is no edit is passed over.
pub fn edited(text: &str, edits: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits.split(' ').take(16) {
        let Some(end) = edit.find(|c: char| !c.is_ascii_digit()) else { continue };
        let (Ok(at), Some(verb)) = (edit[..end].parse::<usize>(), edit[end..].chars().next()) else { continue };
        let operand = &edit[end + verb.len_utf8()..];
        let number = operand.parse::<usize>().unwrap_or(1);
        let length = bytes.len().max(1);
        let at = at % length;
        match verb {
            '^' if !bytes.is_empty() => bytes[at] ^= number as u8,
            '-' => {
                let end = (at + number % length).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            '+' => {
                let at = at.min(bytes.len());
                bytes.splice(at..at, operand.bytes());
            }
            '=' => bytes.iter_mut().skip(at).zip(operand.bytes()).for_each(|(place, byte)| *place = byte),
            '~' if !bytes.is_empty() => bytes.swap(at, number % length),
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
