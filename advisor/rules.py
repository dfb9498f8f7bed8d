"""Every threshold of a recommendation and of a trial, in one place; docs/advisor.md has the reasons."""

from dataclasses import dataclass

from komilion.common.money import NANO_PER_USD


@dataclass(frozen=True, slots=True)
class Rules:
    """What must hold before something is said. Errors are standard deviations of a logarithm unless they say so."""

    # How much, how sure, how often.
    most_a_week: int = 5
    least_calls: int = 200  # of the window: either these or the charge
    least_charge_nano: int = 5 * NANO_PER_USD
    least_weeks: int = 2  # of the window, with traffic
    least_seen_calls: int = 20  # whose task type was read: fewer say too little of what the others are about
    least_saving_nano: int = 1 * NANO_PER_USD  # a month, the low end
    least_saving_share: float = 0.05  # of what the calls cost now, the low end
    least_confidence: float = 0.8  # of each; most are surer, so that nine of ten are right
    better_confidence: float = 0.9  # the same for a model that saves nothing
    wrong_costs_savings: float = 8.0  # what advice that is wrong costs, in its own savings: between two candidates
    pause_weeks: int = 3  # for what was said and not answered
    dismissed_weeks: int = 8  # for what was dismissed or accepted
    dismissed_growth: float = 2.0  # and by how much its saving must have grown
    life_days: int = 21  # of an advice without a date of its own
    new_model_days: int = 28  # for so long a model is new

    # How well another model does the same.
    least_better: float = 0.01  # of the probability of a good answer, to be called better
    least_votes: float = 10.0  # of the organization on each of two models, before votes move either
    vote_weight: float = 0.5  # people vote when they are pleased or angry: a vote says less than an outcome
    largest_offset_logit: float = 0.5  # by which votes move a model

    # How much another model costs.
    tokenizer_error: float = 0.2  # between two makers
    own_length_error: float = 0.25  # one organization's questions against everybody's
    volume_error: float = 0.25  # from week to week, before the organization's own weeks speak
    volume_prior_weeks: float = 4.0  # how many weeks that assumption weighs
    volume_drift_error: float = 0.3  # of a month against the month before
    call_spread: float = 1.0  # of one call's size, for what a sample of calls stands for
    room_share: float = 0.5  # of a context, that the mean input may fill: calls differ
    going_share: float = 0.25  # of a mean week, that the last one must have had: what has stopped saves nothing
    small_share: float = 0.05  # of the charge: models that answer less of the calls make no promise

    # Health, over all organizations.
    least_health_calls: int = 200
    health_confidence: float = 0.99
    failing_more: float = 0.03  # failures in all calls, more than before
    slower_ratio: float = 1.5  # durations, against before
    health_dearer_share: float = 0.25  # of the cost now, that a healthy alternative may cost more
    ending_days: int = 60
    ending_soon_days: int = 14  # then whatever was said before is said again

    # Alerts, of an organization's own calls: docs/advisor.md, "Alerts".
    alert_least_calls: int = 50
    alert_least_failed: int = 5
    alert_confidence: float = 0.999
    alert_failing_ratio: float = 2.0  # failures in all calls: so many times as often as usual,
    alert_failing_more: float = 0.05  # and by so much more often
    alert_slower_ratio: float = 2.0  # durations, against usual
    alert_least_share: float = 0.1  # of the window's calls, in its last half-hour: what has stopped is no news
    alert_pause_days: int = 7  # for the same model and kind
    alert_most: int = 3  # within those days
    alert_tasks: int = 3  # for which one alert recommends another model

    # Prompts and answers.
    least_prefix_tokens: int = 2_048  # mean input, for a cache to be worth its marking
    little_cached_share: float = 0.2  # of the input
    much_cached_share: float = 0.4  # of comparable input, which shows that prompts repeat
    misses_a_hit: float = 0.25  # calls that write the cache, for each that reads it
    long_ratio: float = 2.5  # mean output against everybody's
    long_ratio_cut: float = 1.5  # the same where answers are cut often
    much_cut_share: float = 0.1
    need_error: float = 0.4  # how much length organizations need differs
    needless_error: float = 0.4  # and how much length nobody needs
    needless_error_cut: float = 0.8  # the same where answers are cut often

    # Keys.
    unused_days: int = 60
    cap_over_share: float = 1.2  # projected spend of the period over the cap
    cap_early_days: int = 2  # before the period's end

    # Trials of an upgrade: docs/advisor.md, "Upgrades".
    false_alarm: float = 0.01  # of each of the five signals, over a whole trial
    tolerated_ratio: float = 1.1  # of failures, retries, cuts and bad votes
    tolerated_slower: float = 1.25  # of durations
    least_latency_calls: int = 50  # in each arm, from where the mean of logarithms is normal enough
    # For the steps of 5 % and of 50 %: both least must be reached, or the most, and nothing speak against the model.
    step_least_calls: tuple[int, int] = (200, 1_000)  # of the newer model
    step_least_hours: tuple[float, float] = (6.0, 24.0)
    step_most_hours: tuple[float, float] = (8.0, 336.0)  # at 5 % a small trial shows nothing, and little can happen
