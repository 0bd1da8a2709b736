"""The parameters and attributes that both estimators document alike."""

PARAMETERS = """\
hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer. ``()`` gives a linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Activation of the hidden layers.
    solver : str or optimizer, default='adam'
        ``'lbfgs'``, ``'sgd'`` and ``'adam'`` are scikit-learn's algorithms with its arguments. Any other
        name of `fastopt.list_optimizers` takes ``learning_rate_init`` as its ``lr`` and its own defaults for
        the rest. An optimizer object, such as ``fastopt.AdamW(lr=1e-3, weight_decay=0.01)``, brings all its
        values; its parameters can be searched as ``solver__lr`` and so on. Names ignore case.
    alpha : float, default=0.0001
        L2 penalty on the weights, divided by the sum of the batch's sample weights; biases are free.
        Decoupled decay is an optimizer's own ``weight_decay``.
    batch_size : int or 'auto', default='auto'
        Rows per step; ``'auto'`` is ``min(200, n_samples)``. Not used by ``'lbfgs'``.
    learning_rate : str, schedule or callable, default='constant'
        How the learning rate moves. With ``solver='sgd'`` ``'invscaling'`` sets it to
        ``learning_rate_init / (t_ + 1) ** power_t`` after each epoch, and ``'adaptive'`` to a fifth whenever
        patience runs out; they are scikit-learn's and do nothing with other solvers. For every solver but
        ``'lbfgs'``: a name of `fastopt.schedules.list_schedules`, such as ``'cosine'``, ``'onecycle'`` or
        ``'plateau'``, which starts (``'onecycle'``: peaks) at ``learning_rate_init``, or at the ``lr`` of an
        optimizer object, and lasts for ``max_iter`` epochs; a schedule object, which brings its own values;
        or a function of the share of those epochs that is over, whose result multiplies the rate.
        Schedules begin anew with each `fit` and go on over `partial_fit`.
    learning_rate_init : float, default=0.001
        The learning rate, for a ``solver`` given by name.
    power_t : float, default=0.5
        Exponent of ``'invscaling'``.
    max_iter : int, default=200
        Most epochs, or most iterations of ``'lbfgs'``.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Draws the initial parameters, then the early-stopping split, then each epoch's order, as
        scikit-learn does. The result is the same for any number of threads.
    tol : float, default=1e-4
        Least improvement of the loss or score that resets patience; for ``'lbfgs'`` the largest
        component of the gradient at which to stop.
    verbose : bool or int, default=False
        Whether to print each epoch's loss, in scikit-learn's words.
    warm_start : bool, default=False
        Whether `fit` continues from the current parameters.
    momentum : float, default=0.9
        Momentum of ``solver='sgd'``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether that momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold out ``validation_fraction`` of the rows, stop when their score stops improving, and
        keep the weights of the best epoch. Not used by ``'lbfgs'``.
    validation_fraction : float, default=0.1
        Share of the rows to hold out.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of ``solver='adam'``, where epsilon is Kingma and Ba's "epsilon hat".
    n_iter_no_change : int or np.inf, default=10
        Patience: epochs without improvement that are still accepted.
    max_fun : int, default=15000
        Most evaluations of the loss by ``'lbfgs'``.
    n_jobs : int or None, default=None
        Threads that one fit or prediction uses. None is Numba's current number, so that joblib's workers
        keep to their share; -1 is all. The numbers that come out do not depend on it.
    device : {'cpu', 'auto', 'cuda', 'cuda:N'}, default='cpu'
        Where to train and predict; ``'cuda'`` is ``'cuda:0'``. A device asked for by name is used or refused,
        never replaced; ``'auto'`` takes the GPU if there is a usable one. A GPU needs the extra ``cuda12`` or
        ``cuda13``; sparse X is dense there. A fitted network consists of NumPy arrays wherever it was
        trained: ``set_params(device='cpu')`` predicts without a GPU. Tested in Numba's simulator; not yet
        run on hardware.
    reset_optimizer : bool, default=True
        Whether a warm start begins with a new optimizer state, as in scikit-learn. False keeps the state
        (moments, step count) and reads the hyper-parameters anew.
    restore_best_weights : bool or 'auto', default='auto'
        Whether to end with the weights of the best epoch: by validation score with early stopping,
        otherwise by training loss. ``'auto'``: only with early stopping, as in scikit-learn.
    warmup : float, default=0.0
        Share of the ``max_iter`` epochs, in [0, 1), in which the learning rate first rises from 0 in a
        straight line; its schedule follows.
    clip_norm, clip_value : float or None, default=None
        Bounds of each step's gradient, penalty included: of its L2 norm over all layers, and of each element
        (before the norm), as `fastopt.Clip`. Not used by ``'lbfgs'``.
    progress : bool, default=False
        Whether `fit` shows a live bar on standard error with loss and time left; needs rich (extra ``cli``).
        Silent where standard error is not a terminal or a notebook, and in `partial_fit`."""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (fan_in, fan_out)
        The weights. Views of the network's one vector: writing to them changes predictions, also after
        unpickling. float32 if X was, otherwise float64.
    intercepts_ : list of ndarray of shape (fan_out,)
        The biases, views as well.
    loss_ : float
        Mean loss of the last epoch, penalty included.
    best_loss_ : float or None
        Least loss so far; None with early stopping, absent with ``'lbfgs'``.
    loss_curve_ : list of float
        Loss of every epoch, over warm starts and `partial_fit` too; absent with ``'lbfgs'``.
    validation_scores_ : list of float or None
        Held-out {score} after every epoch, with early stopping.
    best_validation_score_ : float or None
        The best of them.
    n_iter_ : int
        Epochs, or iterations, of the last fit.
    t_ : int
        Rows seen in training.
    n_layers_, n_outputs_ : int
        Layers, inputs and outputs included; units of the last.
    out_activation_ : str
        Activation of the output layer.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.
    device_ : str
        Where the network was last trained: ``'cpu'`` or ``'cuda:N'``."""


def document(**sections):
    """Fill the ``{name}`` fields of a class docstring; for use as a decorator."""

    def fill(cls):
        if cls.__doc__:  # absent under python -OO
            for name, text in {"parameters": PARAMETERS, "attributes": ATTRIBUTES, **sections}.items():
                cls.__doc__ = cls.__doc__.replace(f"{{{name}}}", text)
        return cls

    return fill
