"""One member trained by actors of a Ray cluster at their own pace; imported only where Ray is asked for."""
