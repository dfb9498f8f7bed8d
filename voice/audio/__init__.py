"""What voice does with samples: find speech (`vad`) and speakers (`diarize`), join pieces of speech (`join`).

Samples themselves, and files made of them, are `komilion.common.audio`.
"""
