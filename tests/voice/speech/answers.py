"""What providers answer to a transcription, in their own shapes; written here, of a talk that nobody had."""

from typing import Any

type Json = dict[str, Any]

TALK = (
    (0, "Good morning, everybody. Shall we begin with the numbers, or with the plan for next week?"),
    (1, "The numbers, please."),
    (0, "Fine: we sold 40% more & lost <no> customer."),
)
WORD_S = 0.37
PAUSE_S = 0.9


def words_of(text: str, start_s: float, speaker: int | None) -> list[Json]:
    """The words of one utterance, a word each 370 ms."""
    words = []
    for place, shown in enumerate(text.split()):
        begin = round(start_s + place * WORD_S, 4)
        word = {
            "word": shown.strip(".,?:").lower(),
            "start": begin,
            "end": round(begin + 0.3125, 4),
            "confidence": 0.97,
            "punctuated_word": shown,
        }
        if speaker is not None:
            word |= {"speaker": speaker, "speaker_confidence": 0.8}
        words.append(word)
    return words


def deepgram(
    talk: tuple[tuple[int, str], ...] = TALK, *, utterances: bool = True, speakers: bool = True, start_s: float = 0.08
) -> Json:
    """An answer of `/v1/listen`."""
    said = []
    for speaker, text in talk:
        words = words_of(text, start_s, speaker if speakers else None)
        said.append(
            {
                "start": words[0]["start"],
                "end": words[-1]["end"],
                "confidence": 0.96,
                "channel": 0,
                "transcript": text,
                "words": words,
                "id": f"utterance-{len(said)}",
                **({"speaker": speaker} if speakers else {}),
            }
        )
        start_s = words[-1]["end"] + PAUSE_S
    words = [word for each in said for word in each["words"]]
    alternative = {"transcript": " ".join(text for _, text in talk), "confidence": 0.96, "words": words}
    results: Json = {"channels": [{"alternatives": [alternative], "detected_language": "en"}]}
    if utterances:
        results["utterances"] = said
    metadata = {
        "request_id": "0f7f0b3c-1111-4222-8333-944444444444",
        "created": "2026-11-30T10:00:00.000Z",
        "duration": round(start_s, 4),
        "channels": 1,
        "models": ["model-1"],
    }
    return {"metadata": metadata, "results": results}


VERBOSE: Json = {
    "task": "transcribe",
    "language": "english",
    "duration": 4.4,
    "text": " Good morning, everybody. The numbers, please.",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 2.0,
            "text": " Good morning, everybody.",
            "tokens": [50364, 2205, 2446],
            "temperature": 0.0,
            "avg_logprob": -0.21,
            "compression_ratio": 1.1,
            "no_speech_prob": 0.02,
        },
        {"id": 1, "seek": 0, "start": 2.0, "end": 4.2, "text": " The numbers, please.", "tokens": [440, 3547]},
    ],
    "words": [
        {"word": "Good", "start": 0.0, "end": 0.3},
        {"word": "morning", "start": 0.3, "end": 0.8},
        {"word": "everybody", "start": 0.9, "end": 1.8},
        {"word": "The", "start": 2.0, "end": 2.2},
        {"word": "numbers", "start": 2.2, "end": 3.0},
        {"word": "please", "start": 3.1, "end": 4.2},
    ],
    "usage": {"type": "duration", "seconds": 5},
}

DIARIZED: Json = {
    "task": "transcribe",
    "duration": 4.4,
    "text": "Good morning. Hello.",
    "segments": [
        {
            "type": "transcript.text.segment",
            "id": "seg_1",
            "start": 0,
            "end": 2,
            "speaker": "agent",
            "text": "Good morning.",
        },
        {"type": "transcript.text.segment", "id": "seg_2", "start": 2.5, "end": 4, "speaker": "B", "text": "Hello."},
    ],
    "usage": {
        "type": "tokens",
        "input_tokens": 44,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 40},
        "output_tokens": 12,
        "total_tokens": 56,
    },
}
