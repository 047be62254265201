"""What a night itself tells of its stages: answers are refined by its own spectra, without labels.

A model trained on other amplifiers and derivations is mostly right about a night, and where it is
sure the night shows how its stages look here. A Gaussian per stage is fitted to the spectra of the
night, each epoch weighted by what is said of it; what the Gaussians say joins the first answers, a
hidden Markov model with the transitions of real nights joins the neighbours, and this is repeated.
A recording of too few stages is left as it is: Gaussians would be fitted to what is not there.

Notation: N epochs, D spectral features, P components, K stages.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Least probability, so that no answer rules a stage out.
FLOOR = 1e-4
LOWEST_LOG_LIKELIHOOD = -30.0


@dataclass(frozen=True)
class Adaptation:
    """How answers are refined.

    Attributes
    ----------
    rounds
        How often Gaussians are fitted.
    weight
        Of the Gaussians' log-likelihoods: features of one epoch are not independent.
    balance
        Power of the stages' shares that the first answers are divided by before the hidden Markov
        model: the shares are in its transitions, too.
    components
        P, principal components of the spectra.
    smoothing
        Epochs to each side of a triangular mean that stands beside each epoch's own spectrum.
    fewest
        Expected epochs of a stage below which its Gaussian is not fitted.
    shrinkage
        Of the common covariance to a sphere.
    sharing
        Of each stage's covariance with the common one.
    own
        Epochs that the common covariance counts for in that of a stage.
    shortest
        Epochs of a night below which the first answers stay.
    sure, share
        A stage is supported where this share of the epochs, at least, is said to be of it first and
        with this probability.
    stages
        Supported stages below which the first answers stay.
    """

    rounds: int = 3
    weight: float = 0.5
    balance: float = 0.25
    components: int = 10
    smoothing: int = 3
    fewest: float = 12.0
    shrinkage: float = 0.2
    sharing: float = 0.5
    own: float = 20.0
    shortest: int = 120
    sure: float = 0.5
    share: float = 0.02
    stages: int = 3


def adapt(
    probabilities: Floats, spectra: Floats, *, transitions: Floats, how: Adaptation
) -> Floats:
    """Refine the answers (N, K) for a night by its spectra (N, D).

    Parameters
    ----------
    probabilities
        First answers.
    spectra
        Log powers, in the order of time.
    transitions
        (K, K), from stage (row) to stage; rows sum to one.
    how
        The numbers of it.

    Returns
    -------
    Array (N, K). The first answers, where the night is shorter than `how.shortest` or fewer than
    `how.stages` are supported.
    """
    if len(probabilities) < how.shortest or _supported(probabilities, how=how) < how.stages:
        return probabilities
    points = _components(spectra, how=how)
    first = np.log(probabilities + FLOOR)
    shares = np.log(np.maximum(probabilities.mean(axis=0), 0.02))
    answers = probabilities
    for _ in range(how.rounds):
        seen = _log_likelihoods(points, answers, how=how)
        answers = smooth(first + how.weight * seen - how.balance * shares, transitions=transitions)
    return answers


def smooth(log_likelihoods: Floats, *, transitions: Floats) -> Floats:
    """Give the probabilities (N, K) of the states of a hidden Markov chain (forward-backward)."""
    likelihoods = np.exp(log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
    forward, backward = likelihoods.copy(), np.ones_like(likelihoods)
    forward[0] /= forward[0].sum()
    for row in range(1, len(forward)):
        forward[row] *= forward[row - 1] @ transitions
        forward[row] /= forward[row].sum()
    for row in range(len(backward) - 2, -1, -1):
        backward[row] = transitions @ (likelihoods[row + 1] * backward[row + 1])
        backward[row] /= backward[row].sum()
    both = forward * backward
    result: Floats = both / both.sum(axis=1, keepdims=True)
    return result


def _supported(probabilities: Floats, *, how: Adaptation) -> int:
    """Count the stages that enough epochs are surely said to be of."""
    sure = probabilities.max(axis=1) >= how.sure
    counts = np.bincount(probabilities.argmax(axis=1)[sure], minlength=probabilities.shape[1])
    return int((counts >= how.share * len(probabilities)).sum())


def _components(spectra: Floats, *, how: Adaptation) -> Floats:
    """Give the principal components (N, P) of a night's spectra and their means over neighbours."""
    low, middle, high = np.quantile(spectra, [0.25, 0.5, 0.75], axis=0)
    scaled = np.clip((spectra - middle) / np.maximum((high - low) / 1.349, 1e-3), -5, 5)
    ramp = np.arange(1.0, how.smoothing + 2)
    window = np.concatenate([ramp, ramp[-2::-1]])
    there = np.convolve(np.ones(len(scaled)), window, "same")
    around = np.stack([np.convolve(one, window, "same") / there for one in scaled.T], axis=1)
    both = np.concatenate([scaled, around], axis=1)
    left, _, _ = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    result: Floats = left[:, : how.components] * np.sqrt(len(left))
    return result


def _log_likelihoods(points: Floats, answers: Floats, *, how: Adaptation) -> Floats:
    """Give what Gaussians of the stages say (N, K) of points (N, P); the best is 0.

    A stage with too few epochs gets what the others say on average: nothing is known of it.
    """
    counts = answers.sum(axis=0)
    fitted = np.flatnonzero(counts >= how.fewest)
    distances = {k: points - answers[:, k] @ points / counts[k] for k in fitted}
    scatters = {k: (answers[:, [k]] * distances[k]).T @ distances[k] for k in fitted}
    within = np.sum(list(scatters.values()), axis=0) / counts[fitted].sum()
    size = len(within)
    within = (1 - how.shrinkage) * within + how.shrinkage * np.eye(size) * np.trace(within) / size
    found = np.zeros(answers.shape)
    for k in fitted:
        own = (scatters[k] + how.own * within) / (counts[k] + how.own)
        covariance = (1 - how.sharing) * own + how.sharing * within
        solved = np.linalg.solve(covariance, distances[k].T).T
        found[:, k] = -((distances[k] * solved).sum(axis=1) + np.linalg.slogdet(covariance)[1]) / 2
    others = np.setdiff1d(np.arange(len(counts)), fitted)
    said = answers[:, fitted]
    found[:, others] = (said * found[:, fitted]).sum(axis=1, keepdims=True) / np.maximum(
        said.sum(axis=1, keepdims=True), 1e-9
    )
    return np.maximum(found - found.max(axis=1, keepdims=True), LOWEST_LOG_LIKELIHOOD)
